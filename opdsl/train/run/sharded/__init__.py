"""Checkpoints whose tensors are divided among processes: each writes and reads its own part."""
