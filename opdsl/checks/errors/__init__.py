"""Rules that a graph must keep: each module has a function of its name that yields errors."""
