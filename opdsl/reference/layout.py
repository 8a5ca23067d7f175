"""Layout of reference text: Markdown tables for pages, wrapped lists for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import fill, indent

WIDTH = 88  # columns of text in a terminal


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Build a Markdown table; `|` inside a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, x))} |" for x in lines)


def page(*paragraphs: str) -> str:
    """Join paragraphs with empty lines between them; empty ones are left out."""
    return "\n\n".join(x.strip("\n") for x in paragraphs if x.strip()) + "\n"


def fence(kind: str, text: str) -> str:
    """Enclose text in a fenced code block of a language."""
    return f"```{kind}\n{text.rstrip()}\n```"


def described(names: Sequence[tuple[str, str, str]]) -> str:
    """Lay out names, each with a line about it and a wrapped text below, for a terminal."""
    return "\n".join(
        f"  {f'{name}  {about}'.rstrip()}\n{wrapped(text, indentation=6)}".rstrip()
        for name, about, text in names
    )


def wrapped(text: str, *, indentation: int = 0) -> str:
    """Wrap one paragraph to lines of at most `WIDTH` columns."""
    space = " " * indentation
    return fill(text, WIDTH, initial_indent=space, subsequent_indent=space, break_long_words=False)


def indented(text: str) -> str:
    """Indent text by four columns, as programs are shown in a terminal."""
    return indent(text.rstrip(), "    ")


def plain(markdown: str) -> str:
    """Remove the links and fences of Markdown, which a terminal does not show."""
    without_links = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", markdown)
    return re.sub(r"^```\w*\n", "", without_links, flags=re.MULTILINE).replace("```", "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
