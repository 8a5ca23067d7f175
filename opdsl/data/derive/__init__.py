"""Fields computed from other fields: distances, optimal transport, coarser grids."""
