"""Functions on scattered points: geometry, packing, quadrature weights, messages."""
