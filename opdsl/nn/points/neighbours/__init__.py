"""Neighbour search: pairs of points within a radius, nearest points, edges of meshes."""
