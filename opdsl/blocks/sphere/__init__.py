"""Blocks that act on spherical harmonics."""
