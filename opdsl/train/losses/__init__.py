"""Losses between functions, and the quadrature weights of their norms."""
