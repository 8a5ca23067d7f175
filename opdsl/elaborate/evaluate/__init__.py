"""Evaluation of expressions; interfaces look up the names and make the nodes."""
