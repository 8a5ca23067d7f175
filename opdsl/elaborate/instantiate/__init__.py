"""Calls to nodes: the graph of a model, and each definition checked for all sizes."""
