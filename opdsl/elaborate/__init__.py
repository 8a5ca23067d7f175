"""Tree to graph: names, parameters, spaces."""
