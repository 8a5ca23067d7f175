"""Pieces of a page as HTML: tables that become lists on narrow screens, images, program text.

Every text is escaped here, once.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

LONG = 28  # characters without a space that a cell of a table may break

TITLES = {
    "rel_l2": "rel. L2",
    "rel_h1": "rel. H1",
    "rmse": "RMSE",
    "max_error": "max error",
    "lr": "learning rate",
}


def section(heading: str, content: str) -> str:
    """Return content below a heading; without a heading the content alone."""
    return f"<h2>{escape(heading)}</h2>\n{content}" if heading else content


def paragraphs(texts: Iterable[str]) -> str:
    """Return a paragraph for each text."""
    return "".join(f"<p>{escape(x)}</p>" for x in texts)


def preformatted(text: str) -> str:
    """Return program text; nothing where there is none."""
    return f"<pre>{escape(text.strip())}</pre>" if text.strip() else ""


def figure(content: str, caption: str = "", *, plain: bool = False) -> str:
    """Return a framed figure with a caption above it.

    Args:
        content: HTML.
        caption: text.
        plain: whether the background is white also where the page is dark.
    """
    top = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    kind = ' class="plain"' if plain else ""
    return f"<figure{kind}>{top}{content}</figure>"


def image(data: bytes, kind: str, words: str, name: str = "", style: str = "") -> str:
    """Return an image whose bytes are in the page.

    Args:
        data: of the file.
        kind: `png`, `gif` or `svg+xml`.
        words: a description for readers who do not see it.
        name: the class of the image.
        style: declarations of CSS.
    """
    encoded = base64.b64encode(data).decode()
    names = f' class="{name}"' if name else ""
    names += f' style="{style}"' if style else ""
    return f'<img{names} alt="{escape(words)}" src="data:image/{kind};base64,{encoded}">'


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], kind: str = "") -> str:
    """Return a table; nothing where it has no rows.

    On narrow screens each row is a list of its cells, with the headings beside them; a table
    without headings stays one.

    Args:
        heads: of the columns; empty texts for a table of names and values.
        rows: the cells.
        kind: `numbers` aligns all columns but the first to the right.
    """
    named = any(heads)
    body = "".join(_row(heads if named else (), row) for row in rows)
    if not body:
        return ""
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    head = f"<thead><tr>{top}</tr></thead>" if named else ""
    kinds = " ".join(x for x in (kind, "stack" if named else "pairs") if x)
    return f'<div class="scroll"><table class="{kinds}">{head}<tbody>{body}</tbody></table></div>'


def numbers(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of rows whose keys are the headings."""
    heads = tuple(dict.fromkeys(key for row in rows for key in row))
    cells = [[cell_text(row.get(head)) for head in heads] for row in rows]
    return table([words(x) for x in heads], cells, kind="numbers")


def _row(heads: Sequence[str], cells: Sequence[Any]) -> str:
    if not heads:
        return f"<tr>{''.join(_cell(x) for x in cells)}</tr>"
    return f"<tr>{''.join(_cell(x, h) for h, x in zip(heads, cells, strict=True))}</tr>"


def _cell(value: Any, head: str = "") -> str:
    text = str(value)
    label = f' data-label="{escape(head)}"' if head else ""
    breaks = any(len(x) > LONG for x in text.split())
    kind = ' class="long"' if breaks else ""
    return f"<td{kind}{label}>{escape(text)}</td>"


def words(key: str) -> str:
    """Convert a key to words: `rel_l2` to `rel. L2`, others with spaces for underscores.

    What is no name but an expression, as `rel_l2(u)`, stays as it is.
    """
    return TITLES.get(key, key.replace("_", " ") if key.isidentifier() else key)


def cell_text(value: Any) -> str:
    """Format a value of a row: a resolution, a number of four digits, or text."""
    if isinstance(value, (tuple, list)):
        return " × ".join(map(str, value))
    return short(value) if value is None or isinstance(value, float) else str(value)


def short(value: float | None) -> str:
    """Format a number with four digits; a dash where there is none."""
    return "–" if value is None else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Format a time: `12 s`, `5 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
