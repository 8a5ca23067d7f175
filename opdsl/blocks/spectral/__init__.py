"""Blocks that act on the coefficients of a Fourier series."""
