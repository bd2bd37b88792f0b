"""Parts of the tree in processes of their own: how they live and die, and how their actors are reached."""
