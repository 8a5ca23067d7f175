"""`python -m opdsl` runs the command line, as `opdsl` does."""

from opdsl.cli import main

main()
