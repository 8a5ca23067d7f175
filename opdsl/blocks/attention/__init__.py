"""Attention between points, variables, slices and functions of other domains."""
