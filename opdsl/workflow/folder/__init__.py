"""The folder of a run: what it contains, how it is read and how it is written."""
