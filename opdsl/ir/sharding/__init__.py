"""Sharding of functions over processes: layouts as types, and the exchanges that they imply."""
