"""Training steps within a limit of memory: their plan, and the parts of their batches."""
