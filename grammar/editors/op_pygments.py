"""Colours of opdsl programs for Pygments; made by generate.py from the words of the parser."""
# the interface of Pygments is made of class attributes, and a script breaks no lines
# ruff: noqa: D101, E501, INP001, RUF012
# fmt: off

from pygments.lexer import RegexLexer, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Whitespace


class OpLexer(RegexLexer):
    name = "opdsl"
    aliases = ["op", "opdsl"]
    filenames = ["*.op"]
    tokens = {
        "root": [
            (r"\s+", Whitespace),
            (r"#.*$", Comment.Single),
            (r'"""[^"]*(?:"{1,2}[^"]+)*"""', String.Doc),
            (r'"(?:[^"\\\n]|\\.)*"', String.Double),
            (words(("edition", "import", "from", "const", "equation", "block", "model", "train", "domain", "dim", "param", "input", "output", "require", "feedback"), prefix=r"\b", suffix=r"\b"), Keyword.Declaration),
            (words(("repeat", "residual", "if", "then", "else", "as", "shared"), prefix=r"\b", suffix=r"\b"), Keyword),
            (words(("and", "or", "not"), prefix=r"\b", suffix=r"\b"), Operator.Word),
            (words(("true", "false"), prefix=r"\b", suffix=r"\b"), Keyword.Constant),
            (r"\b[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\b", Number),
            (r"[A-Za-z][A-Za-z0-9_]*(?=\s*\()", Name.Function),
            (r"[A-Za-z][A-Za-z0-9_]*", Name),
            (r"\|>|\->|\.\.|==|!=|<=|>=|<|>|\+|\-|\*|\/|%|=|:|\.|\^|\||_", Operator),
            (r"[(){}\[\],]", Punctuation),
        ]
    }
