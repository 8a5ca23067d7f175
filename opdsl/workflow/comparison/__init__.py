"""Comparison of trained runs: their settings, programs, errors, costs, curves and pictures."""
