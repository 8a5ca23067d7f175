"""Models of local blocks applied tile by tile."""
