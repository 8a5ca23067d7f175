"""What a run refuses, or warns of, before it begins."""
