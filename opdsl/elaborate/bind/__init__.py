"""Parameters and names: which value each name of a definition has, and which space each function.

A binding that makes nodes is computed through `Shared.compute`, which the layer above provides.
"""
