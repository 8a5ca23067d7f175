"""Data sets as the workflow takes them: files or arrays, divided and bound to a model."""
