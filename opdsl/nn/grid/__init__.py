"""Layers on regular grids: coordinates, padding, local convolutions, interpolation."""
