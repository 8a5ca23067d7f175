"""Blocks that act at each point alone."""
