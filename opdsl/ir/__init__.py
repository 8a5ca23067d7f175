"""The intermediate representation of a program: spaces, sizes, blocks, graph, certificate."""
