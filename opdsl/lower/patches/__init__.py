"""Models that run on the patches of a grid: multi-grid domain decomposition."""
