"""Rules that a graph must keep: a module for each, its function of the same name yields errors."""
