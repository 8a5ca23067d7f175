"""Compress a trained model: its spectral weights as products of small tensors."""
