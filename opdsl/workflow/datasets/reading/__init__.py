"""Data sets of files, of arrays in memory and of torch, read whole or batch by batch."""
