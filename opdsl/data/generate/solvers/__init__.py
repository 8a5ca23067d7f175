"""Discretisations of the equations of generated problems."""
