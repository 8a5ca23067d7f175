"""Functions between two ends: transforms, layers and interpolants in sines and cosines."""
