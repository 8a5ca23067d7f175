"""The files of a run: folder, checkpoints, metrics log, trained weights."""
