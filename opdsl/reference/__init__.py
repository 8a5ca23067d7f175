"""Pages of the reference and the text of `opdsl explain`, generated from the code.

Nothing here imports torch. `tools/reference.py` writes the pages below `docs/reference`.
"""
