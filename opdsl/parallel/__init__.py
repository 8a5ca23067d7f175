"""The processes of a run: their mesh, their start and their agreement."""
