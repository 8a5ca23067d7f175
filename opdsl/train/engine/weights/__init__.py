"""Weights by paths, their means, and the modes of which they take part in training."""
