"""From calls to nodes: builds the graph of a model, and checks definitions for all sizes."""
