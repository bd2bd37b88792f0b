"""A daemon that watches its host, and its own actors while it does so."""
