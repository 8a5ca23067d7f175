"""Import models of other libraries as programs of ours: one package for each library."""
