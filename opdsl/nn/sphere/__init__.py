"""Spherical harmonic transforms and layers on the sphere."""
