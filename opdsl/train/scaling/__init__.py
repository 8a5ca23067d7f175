"""Normalisation and pointwise maps of inputs and outputs, with their statistics."""
