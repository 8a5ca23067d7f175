"""The problems of the generators: equations, random functions, checks, files."""
