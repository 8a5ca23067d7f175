"""Blocks on scattered points: kernel integrals, interpolation, means and integrals."""
