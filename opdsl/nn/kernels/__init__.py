"""Layers computed as one operation with compiled kernels, forward and backward."""
