"""The parts of data in words."""

SPLITS = {"valid": "validation", "test": "test", "train": "training"}
