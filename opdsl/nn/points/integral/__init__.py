"""Kernel integrals between points."""
