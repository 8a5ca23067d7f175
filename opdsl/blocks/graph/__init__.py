"""Blocks on the edges of meshes and graphs."""
