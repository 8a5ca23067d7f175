"""Binding of parameters and names: the value of each name, and the space of each function.

A binding that makes nodes is computed through `Shared.compute`, which the layer above provides.
"""
