"""`python -m opdsl`, the same as `opdsl`."""

from opdsl.cli import main

main()
