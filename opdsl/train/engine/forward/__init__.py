"""The forward pass of training: noise, steps in time, results that are computed again."""
