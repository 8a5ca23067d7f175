"""Coordinates that files state, compared with the domains of the program."""
