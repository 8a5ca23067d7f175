"""Data sets made here: one module per problem, each checking itself before its file appears."""
