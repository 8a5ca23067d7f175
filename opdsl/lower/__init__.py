"""From a graph to a torch module: kernel plans, checks of calls, fusion, tiles, exported files."""
