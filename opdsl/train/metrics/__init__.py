"""Errors of a trained model over a set of samples."""
