"""Suspicious but valid programs: each module has a function of its name that yields warnings."""
