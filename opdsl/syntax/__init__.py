"""From text to tree and back: `tree`, `parser`, `recovery`, `printer`."""
