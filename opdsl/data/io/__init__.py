"""Readers and writers of data files, one module for each layout."""
