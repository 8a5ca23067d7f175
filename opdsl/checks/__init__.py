"""Rules that need the whole graph."""
