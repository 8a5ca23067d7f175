"""Multi-grid domain decomposition: the patches of a grid, and a model on one of them. No torch."""
