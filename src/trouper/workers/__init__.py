"""Actors in other processes: frames, what travels in them, the link that carries them, and refs across it."""
