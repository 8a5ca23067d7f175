"""Fourier transforms of band-limited functions and layers on their coefficients."""
