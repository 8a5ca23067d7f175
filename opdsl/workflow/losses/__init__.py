"""Losses and metrics as expressions: from text to typed terms, and from terms to objectives.

Everything but `objectives` imports no torch, so that a program is checked without it.
"""
