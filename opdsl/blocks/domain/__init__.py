"""Blocks that change the grid or the channels: padding, cropping, joining, selecting."""
