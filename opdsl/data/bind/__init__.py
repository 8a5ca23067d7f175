"""Fields of a file bound to the inputs and outputs of a model."""
