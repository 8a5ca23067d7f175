"""Experiments: sweeps over settings, tables of runs, and trials of a program before training."""
