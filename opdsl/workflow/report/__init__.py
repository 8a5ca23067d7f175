"""The report page of a run: its errors, curves, samples, spectra, model and environment."""
