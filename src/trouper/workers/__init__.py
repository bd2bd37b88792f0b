"""Parts of the tree in processes of their own: their spec, their start, their life and their death."""
