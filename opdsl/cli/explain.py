"""`opdsl explain`: the page of a code."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from opdsl.cli.completion import codes
from opdsl.cli.console import UsageError, result, table
from opdsl.diagnostics import CODES, did_you_mean


def command(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE",
            help="Such as OP0309, or its name.",
            show_default=False,
            autocompletion=codes,
        ),
    ] = None,
) -> None:
    """Explain a diagnostic: what it means, a wrong program, the cure.

    Without a code, list them all.

    Example: opdsl explain OP0309
    """
    if code is None:
        result(table([(k, x.slug, x.title) for k, x in CODES.items()], left=3))
    else:
        result(page(code))


def page(word: str) -> str:
    """The page of a code, which may be written `op309`, `309` or `too-many-modes`.

    Raises:
        UsageError: there is no such code.
    """
    from opdsl.resources import root

    slugs = {x.slug: k for k, x in CODES.items()}
    digits = re.fullmatch(r"(?:op)?(\d{1,4})", word.strip(), re.IGNORECASE)
    code = f"OP{int(digits[1]):04}" if digits else slugs.get(word.strip().lower())
    if code not in CODES:
        near = did_you_mean(code or word, [*CODES, *slugs]) or ("`opdsl explain` lists them all",)
        raise UsageError(f"there is no code `{word}`; {near[0]}")
    return (root("grammar") / "diagnostics" / f"{code}.md").read_text(encoding="utf-8")
