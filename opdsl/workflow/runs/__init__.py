"""Trained runs: predictions, errors, calibrated bands and report pages."""
