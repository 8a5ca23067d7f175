"""Layers that do not depend on the kind of domain."""
