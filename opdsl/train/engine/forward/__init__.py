"""The forward pass of training: symmetries of batches, noise, results that are computed again."""
