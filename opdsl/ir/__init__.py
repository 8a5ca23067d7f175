"""What a program means: spaces, sizes, blocks, the graph, its certificate."""
