"""Layout of reference text: Markdown tables for pages, wrapped lists for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import fill, indent

WIDTH = 88  # columns of text in a terminal


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; `|` inside a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, x))} |" for x in lines)


def page(*paragraphs: str) -> str:
    """Paragraphs with an empty line between each two; empty ones are left out."""
    return "\n\n".join(x.strip("\n") for x in paragraphs if x.strip()) + "\n"


def fence(kind: str, text: str) -> str:
    """A fenced block."""
    return f"```{kind}\n{text.rstrip()}\n```"


def described(names: Sequence[tuple[str, str, str]]) -> str:
    """Names with a line about each and a wrapped text below, for a terminal."""
    return "\n".join(
        f"  {f'{name}  {about}'.rstrip()}\n{wrapped(text, indentation=6)}".rstrip()
        for name, about, text in names
    )


def wrapped(text: str, *, indentation: int = 0) -> str:
    """One paragraph as lines of at most `WIDTH` columns."""
    space = " " * indentation
    return fill(text, WIDTH, initial_indent=space, subsequent_indent=space, break_long_words=False)


def indented(text: str) -> str:
    """Text four columns to the right, as programs stand in a terminal."""
    return indent(text.rstrip(), "    ")


def plain(markdown: str) -> str:
    """Markdown text without the marks that a terminal does not show: links and fences."""
    linked = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", markdown)
    return re.sub(r"^```\w*\n", "", linked, flags=re.MULTILINE).replace("```", "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
