"""The words and signs of the language: one table for the parser, the printer and the editors.

A word in any of these sets is reserved: it can never be a name.
"""

EDITION = 2026

ITEMS = ("edition", "import", "from", "const", "equation", "block", "model", "train")
STATEMENTS = ("domain", "dim", "param", "input", "output", "require", "feedback")
STAGES = ("repeat", "residual")
OPERATORS = ("and", "or", "not")
CLAUSES = ("if", "then", "else", "as", "shared")
CONSTANTS = ("true", "false")

KEYWORDS = frozenset(ITEMS + STATEMENTS + STAGES + OPERATORS + CLAUSES + CONSTANTS)

SIGNS = (
    "|>", "->", "..", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%",
    "=", ":", ",", ".", "^", "|", "_", "(", ")", "[", "]", "{", "}",
)  # fmt: skip
OPENING = {"(": ")", "[": "]", "{": "}"}
CLOSING = {")": "(", "]": "[", "}": "{"}
