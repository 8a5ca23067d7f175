"""Completions of the Tab key: programs, names of models, parameters and settings, codes.

A shell has no place for an error, so where one occurs nothing is offered. torch is never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import typer

Offer = tuple[str, str]  # a word, and what it is
SUFFIXES = frozenset({".op", ".json"})


def _quiet(
    find: Callable[[typer.Context], Iterable[Offer]],
) -> Callable[[typer.Context, str], list[Offer]]:
    """Return a completion that offers the words with the prefix, and none after an error."""

    def offered(ctx: typer.Context, incomplete: str) -> list[Offer]:
        try:
            return [x for x in find(ctx) if x[0].startswith(incomplete)]
        except Exception:  # noqa: BLE001  see above
            return []

    return offered


def programs(incomplete: str) -> list[str]:
    """Offer programs, graphs and folders; a single folder is expanded."""
    folder, _, _ = incomplete.rpartition("/")
    matches = _below(folder, incomplete)
    while len(matches) == 1 and matches[0].endswith("/"):
        inside = _below(matches[0].rstrip("/"), matches[0])
        if not inside:
            break
        matches = inside
    return matches


def _below(folder: str, begin: str) -> list[str]:
    root = Path(folder or ("/" if begin.startswith("/") else "."))
    before = f"{folder}/" if folder or begin.startswith("/") else ""
    try:
        entries = sorted(root.iterdir())
    except OSError:
        return []
    names = [f"{before}{x.name}{'/' if x.is_dir() else ''}" for x in entries if _shown(x, begin)]
    return [x for x in names if x.startswith(begin)]


def _shown(path: Path, begin: str) -> bool:
    hidden = path.name.startswith(".") and not Path(begin).name.startswith(".")
    return not hidden and (path.is_dir() or path.suffix in SUFFIXES)


@_quiet
def models(ctx: typer.Context) -> Iterator[Offer]:
    """Offer the models of the program."""
    from opdsl.workflow.completion import models_of

    yield from models_of(_spec(ctx))


@_quiet
def parameters(ctx: typer.Context) -> Iterator[Offer]:
    """Offer the parameters of the model with their values, ready to be changed."""
    from opdsl.workflow.completion import parameters_of

    for name, text in parameters_of(_spec(ctx), ctx.params.get("model")):
        yield f"model.{name}={text}".replace(" ", ""), "a parameter of the model"


@_quiet
def settings(ctx: typer.Context) -> Iterator[Offer]:
    """Offer the settings of a run, and the parameters of the model."""
    from opdsl.workflow.completion import default_settings

    for key, text in default_settings():
        yield f"{key}={text}", "a setting of the run"
    yield from ((x, y) for x, y in parameters(ctx, ""))


@_quiet
def topics(_: typer.Context) -> Iterator[Offer]:
    """Offer the topics of `opdsl explain`: codes and names of diagnostics, blocks, settings."""
    from opdsl.diagnostics import CODES
    from opdsl.reference.topics import topic_names

    yield from ((code, x.title) for code, x in CODES.items())
    yield from ((x.slug, x.title) for x in CODES.values())
    yield from topic_names()


def _spec(ctx: typer.Context) -> str:
    """Return the program among the words typed so far."""
    values = (ctx.params.get("spec"), ctx.params.get("old"))
    # click has not assigned the arguments yet if an option before them lacks its value
    words = (x for x in (*values, *ctx.args) if x)
    return next(x for x in words if Path(x).suffix in SUFFIXES)
