"""Random functions and shapes that depend on a seed and an index alone."""
