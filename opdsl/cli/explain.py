"""`opdsl explain`: a diagnostic, a block, a setting, a data format, a loss, a command, ..."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import typer

from opdsl.cli.completion import topics
from opdsl.cli.console import UsageError, result, table
from opdsl.diagnostics import CODES, did_you_mean


def command(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC",
            help="Such as OP0309 or its name, spectral_conv, optimizer.lr, train.",
            show_default=False,
            autocompletion=topics,
        ),
    ] = None,
) -> None:
    """Explain a diagnostic, block, setting, format or command.

    Without a topic, list all diagnostics.

    Example: opdsl explain OP0309

    Example: opdsl explain spectral_conv
    """
    if topic is None:
        result(table([(k, x.slug, x.title) for k, x in CODES.items()], left=3))
    else:
        result(page(topic))


def page(word: str) -> str:
    """Return the text of a topic; a code may be written `op309`, `309` or by its name.

    Raises:
        UsageError: there is no such topic; the message names the nearest one.
    """
    name = word.strip()
    code = _code(name)
    if code is not None and re.search(r"\d", name):  # text with digits can only be a code
        return _code_page(code, word)
    parts = [_code_page(code, word)] if code else []
    parts += _topics(name)
    if not parts:
        raise _unknown(word)
    return "\n".join(parts)


def _code(name: str) -> str | None:
    digits = re.fullmatch(r"(?:op)?(\d{1,4})", name, re.IGNORECASE)
    if digits:
        return f"OP{int(digits[1]):04}"
    return next((k for k, x in CODES.items() if x.slug == name.lower()), None)


def _code_page(code: str, word: str) -> str:
    from opdsl.resources import root

    if code not in CODES:
        raise _unknown(word, code)
    return (root("grammar") / "diagnostics" / f"{code}.md").read_text(encoding="utf-8")


def _topics(name: str) -> Iterator[str]:
    from opdsl.reference.commands import command_text
    from opdsl.reference.topics import explanations

    yield from explanations(name)
    for words, command_ in _commands():
        if name in {words, words.partition(" ")[2]}:
            yield command_text(words, command_)


def _commands() -> list[tuple[str, object]]:
    from typer.main import get_command

    from opdsl.cli import app
    from opdsl.reference.commands import leaf_commands

    return list(leaf_commands(get_command(app)))


def _unknown(word: str, code: str = "") -> UsageError:
    from opdsl.reference.topics import topic_names

    names = [
        *CODES,
        *(x.slug for x in CODES.values()),
        *(x for x, _ in topic_names()),
        *(x.partition(" ")[2] for x, _ in _commands()),
    ]
    near = did_you_mean(code or word, names) or ("`opdsl explain` lists the diagnostics",)
    kind = "code" if code else "topic"
    return UsageError(f"there is no {kind} `{word}`; {near[0]}")
