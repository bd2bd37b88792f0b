"""Actors: the class, its handle, its life."""
