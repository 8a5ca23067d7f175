"""Text to tree and back: `tree`, `parser`, `recovery`, `printer`."""
