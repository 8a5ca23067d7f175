"""What the Tab key offers: programs, names of models, parameters and settings, codes.

What comes in: the words typed so far. What goes out: words that may follow. A shell has no place
for an error, so where nothing can be said, nothing is offered. torch is never imported.
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
    """The offers that begin as the word does; none where there is an error."""

    def offered(ctx: typer.Context, incomplete: str) -> list[Offer]:
        try:
            return [x for x in find(ctx) if x[0].startswith(incomplete)]
        except Exception:  # noqa: BLE001  see above
            return []

    return offered


def programs(incomplete: str) -> list[str]:
    """Programs and graphs, and folders to look into; the one folder that fits is looked into."""
    folder, _, _ = incomplete.rpartition("/")
    found = _below(folder, incomplete)
    while len(found) == 1 and found[0].endswith("/"):
        inside = _below(found[0].rstrip("/"), found[0])
        if not inside:
            break
        found = inside
    return found


def _below(folder: str, begin: str) -> list[str]:
    root = Path(folder or ("/" if begin.startswith("/") else "."))
    before = f"{folder}/" if folder or begin.startswith("/") else ""
    try:
        held = sorted(root.iterdir())
    except OSError:
        return []
    names = [f"{before}{x.name}{'/' if x.is_dir() else ''}" for x in held if _shown(x, begin)]
    return [x for x in names if x.startswith(begin)]


def _shown(path: Path, begin: str) -> bool:
    hidden = path.name.startswith(".") and not Path(begin).name.startswith(".")
    return not hidden and (path.is_dir() or path.suffix in SUFFIXES)


@_quiet
def models(ctx: typer.Context) -> Iterator[Offer]:
    """The models of the program."""
    from opdsl import elaborate
    from opdsl.cli.files import open_source
    from opdsl.syntax.parser import parse

    source, _ = open_source(_spec(ctx))
    for x in elaborate.models(parse(source)[0]):
        yield x.name.text, x.doc.text if x.doc else ""


@_quiet
def parameters(ctx: typer.Context) -> Iterator[Offer]:
    """The parameters of the model with their values, ready to be changed."""
    from opdsl.compiler import check
    from opdsl.elaborate.evaluate.values import show

    graph = check(Path(_spec(ctx)), model=ctx.params.get("model")).sound()
    for name, value in graph.params.items():
        text = value if isinstance(value, str) else show(value)  # type: ignore[arg-type]  # from a Value
        yield f"model.{name}={text}".replace(" ", ""), "a parameter of the model"


@_quiet
def settings(ctx: typer.Context) -> Iterator[Offer]:
    """The same, and the settings of a run."""
    from opdsl.train.config.schema import Settings

    for key, value in Settings().rows():
        told = "" if value is None or isinstance(value, list | dict) else str(value)
        yield f"{key}={told}", "a setting of the run"
    yield from ((x, y) for x, y in parameters(ctx, ""))


@_quiet
def topics(_: typer.Context) -> Iterator[Offer]:
    """What `opdsl explain` knows: codes of diagnostics and their names, blocks, settings."""
    from opdsl.diagnostics import CODES
    from opdsl.reference.topics import topic_names

    yield from ((code, x.title) for code, x in CODES.items())
    yield from ((x.slug, x.title) for x in CODES.values())
    yield from topic_names()


def _spec(ctx: typer.Context) -> str:
    """The program that was named already."""
    named = (ctx.params.get("spec"), ctx.params.get("old"))
    # behind an option that has no value yet, the arguments are not yet sorted
    words = (x for x in (*named, *ctx.args) if x)
    return next(x for x in words if Path(x).suffix in SUFFIXES)
