"""Optimizers of torch with what they lack, for the entries of `opdsl.train.optimizers`."""
