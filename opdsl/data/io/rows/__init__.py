"""Samples of data sets, read in any order when asked for."""
