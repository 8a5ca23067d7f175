# ruff: noqa: INP001  a script, not a package
"""Writes the files for editors beside it, from the table of words of the parser.

    python grammar/editors/generate.py

What goes out: `op.tmLanguage.json` (VS Code, Sublime Text, GitHub), `op.vim` (Vim, Neovim) and
`op_pygments.py` (Sphinx, notebooks). A test compares them with what this script makes.
"""

import json
from pathlib import Path

from opdsl.syntax.words import CLAUSES, CONSTANTS, ITEMS, OPERATORS, SIGNS, STAGES, STATEMENTS

HERE = Path(__file__).parent
ESCAPE = r'\\["\\nt]'
NUMBER = r"\b[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\b"
NAME = r"[A-Za-z][A-Za-z0-9_]*"
BRACKETS = "()[]{}"

# kind of word: the words, and their names in TextMate, Vim and Pygments
KINDS = {
    "declaration": (ITEMS + STATEMENTS, "keyword.declaration.op", "Keyword", "Keyword.Declaration"),
    "control": (STAGES + CLAUSES, "keyword.control.op", "Conditional", "Keyword"),
    "operator": (OPERATORS, "keyword.operator.word.op", "Operator", "Operator.Word"),
    "constant": (CONSTANTS, "constant.language.op", "Boolean", "Keyword.Constant"),
}


def files() -> dict[str, str]:
    """The text of each file by its name."""
    return {
        "op.tmLanguage.json": textmate(),
        "op.vim": vim(),
        "op_pygments.py": pygments(),
    }


def textmate() -> str:
    """A TextMate grammar."""
    patterns = [
        {"match": "#.*$", "name": "comment.line.number-sign.op"},
        {"begin": '"""', "end": '"""', "name": "string.quoted.triple.op"},
        {
            "begin": '"',
            "end": '"|$',
            "name": "string.quoted.double.op",
            "patterns": [{"match": ESCAPE, "name": "constant.character.escape.op"}],
        },
        *({"match": one_of(words), "name": name} for words, name, _, _ in KINDS.values()),
        {"match": NUMBER, "name": "constant.numeric.op"},
        {"match": rf"\b{NAME}(?=\s*\()", "name": "entity.name.function.op"},
        {"match": signs(), "name": "keyword.operator.op"},
    ]
    whole = {
        "$schema": "https://json.schemastore.org/tmlanguage.json",
        "name": "opdsl",
        "scopeName": "source.op",
        "fileTypes": ["op"],
        "patterns": patterns,
    }
    return json.dumps(whole, indent=2) + "\n"


def vim() -> str:
    """A syntax file of Vim."""
    lines = [
        '" Syntax of opdsl programs (*.op); made by generate.py from the words of the parser.',
        'if exists("b:current_syntax")',
        "  finish",
        "endif",
        "syntax case match",
    ]
    for kind, (words, _, group, _) in KINDS.items():
        lines += [f"syntax keyword op_{kind} {x}" for x in words]
        lines.append(f"highlight default link op_{kind} {group}")
    lines += [
        r"syntax match op_number '\<[0-9]\+\(\.[0-9]\+\)\?\([eE][+-]\?[0-9]\+\)\?\>'",
        r"syntax match op_sign '[.=:,^|+*/%<>-]\|!='",
        r"""syntax match op_escape '\\["\\nt]' contained""",
        r"""syntax region op_text start='"' skip='\\.' end='"' oneline contains=op_escape""",
        """syntax region op_text start='"\"\"' end='"\"\"'""",
        "syntax match op_comment '#.*$'",
        "highlight default link op_number Number",
        "highlight default link op_sign Operator",
        "highlight default link op_escape SpecialChar",
        "highlight default link op_text String",
        "highlight default link op_comment Comment",
        "setlocal commentstring=#\\ %s",
        'let b:current_syntax = "op"',
    ]
    return "\n".join(lines) + "\n"


def pygments() -> str:
    """A module with a lexer of Pygments."""
    rules = "\n".join(
        f'            (words({spelled(words)}, prefix=r"\\b", suffix=r"\\b"), {token}),'
        for words, _, _, token in KINDS.values()
    )
    return PYGMENTS.format(rules=rules, number=NUMBER, name=NAME, signs=signs())


PYGMENTS = '''\
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
    tokens = {{
        "root": [
            (r"\\s+", Whitespace),
            (r"#.*$", Comment.Single),
            (r\'"""[^"]*(?:"{{1,2}}[^"]+)*"""\', String.Doc),
            (r\'"(?:[^"\\\\\\n]|\\\\.)*"\', String.Double),
{rules}
            (r"{number}", Number),
            (r"{name}(?=\\s*\\()", Name.Function),
            (r"{name}", Name),
            (r"{signs}", Operator),
            (r"[(){{}}\\[\\],]", Punctuation),
        ]
    }}
'''


def one_of(words: tuple[str, ...]) -> str:
    """A pattern of whole words."""
    return rf"\b(?:{'|'.join(words)})\b"


def signs() -> str:
    """A pattern of all signs but brackets and commas, the longest first."""
    kept = [x for x in SIGNS if x not in (*BRACKETS, ",")]
    return "|".join(escaped(x) for x in sorted(kept, key=len, reverse=True))


def escaped(text: str) -> str:
    """The text with a backslash before what means something in a pattern."""
    return "".join(f"\\{x}" if x in r".^|+*/?-[]" else x for x in text)


def spelled(words: tuple[str, ...]) -> str:
    """A tuple of words as Python."""
    return "(" + ", ".join(f'"{x}"' for x in words) + ")"


if __name__ == "__main__":
    for name, text in files().items():
        (HERE / name).write_text(text, encoding="utf-8")
