"""Local convolutions: stencils on a grid, and their limits under refinement."""
