"""A feedback controller: the load of this host decides how many workers run."""
