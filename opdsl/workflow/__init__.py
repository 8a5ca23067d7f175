"""What the commands do, callable from Python. Nothing here prints; what is wrong is raised."""
