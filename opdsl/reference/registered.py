"""Data formats, losses, optimizers, loggers and generators: descriptions read from their sources.

The sources are parsed and not imported, so that `opdsl explain l2` does not wait for torch. Members
of other packages are described by `opdsl.registry` and are not listed here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import cleandoc
from pkgutil import get_data, iter_modules
from typing import Any

import opdsl
from opdsl.reference.layout import page, plain, wrapped


@dataclass(frozen=True, slots=True)
class RegistryKind:
    """A kind of members.

    Attributes:
        name: in the singular.
        title: of its section.
        folder: of its modules, below `opdsl`.
        attribute: the name of the member in its module.
        usage: how a member is chosen.
    """

    name: str
    title: str
    folder: str
    attribute: str
    usage: str


KINDS = (
    RegistryKind(
        "data format",
        "Data formats",
        "data/io/formats",
        "FORMAT",
        "A file is read by the first format that recognises its content; its name does not matter "
        "except for meshes. `opdsl data show FILE` prints its fields.",
    ),
    RegistryKind("loss", "Losses", "train/losses", "LOSS", "Choose one with `loss = NAME`."),
    RegistryKind(
        "optimizer",
        "Optimizers",
        "train/optimizers",
        "OPTIMIZER",
        "Choose one with `optimizer NAME { lr = 1e-3 }`; all of them use `lr` and `weight_decay`.",
    ),
    RegistryKind(
        "logger",
        "Loggers",
        "train/loggers",
        "LOGGER",
        "Choose one or several with `log = NAME` or `log = [NAME, NAME]`.",
    ),
    RegistryKind(
        "generator",
        "Data generators",
        "data/generate",
        "GENERATOR",
        "Run one with `opdsl data generate NAME`; it verifies its results before it writes a file.",
    ),
)
FACTS: dict[str, Callable[[Any], str]] = {
    "uses": lambda x: f"It uses {', '.join(f'`optimizer.{y}`' for y in x)}." if x else "",
    "needs_grid": lambda x: "It needs a grid." if x else "",
    "relative": lambda x: "" if x else "It is not relative: samples whose truth is zero count.",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a kind.

    Attributes:
        description: Markdown; the first paragraph is complete in itself.
        facts: literal keyword arguments of its definition, such as `uses`.
    """

    name: str
    kind: RegistryKind
    description: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentences(self) -> str:
        """The facts as sentences."""
        texts = (FACTS[k](x) for k, x in self.facts.items() if k in FACTS)
        return " ".join(x for x in texts if x)


def members(kind: RegistryKind) -> tuple[Member, ...]:
    """Return every member of a kind, sorted by name."""
    paths = [f"{x}/{kind.folder}" for x in opdsl.__path__]
    names = sorted(x.name for x in iter_modules(paths) if not x.ispkg)
    candidates = (_member(kind, name) for name in names if not name.startswith("_"))
    return tuple(x for x in candidates if x is not None)


def registered_page() -> str:
    """Build the Markdown page of all kinds."""
    parts = []
    for kind in KINDS:
        inside = members(kind)
        if inside:
            parts += [f"## {kind.title}", kind.usage, *map(_section, inside)]
    return page(
        "# Data formats, losses, optimizers, loggers, generators",
        "Other packages can add members through entry points; "
        "[CONTRIBUTING.md](../../CONTRIBUTING.md) has a recipe for each kind.",
        *parts,
    )


def member_text(member: Member) -> str:
    """Describe a member for a terminal."""
    paragraphs = plain(member.description).split("\n\n")
    texts = (x if x.startswith((" ", "|")) else wrapped(x) for x in paragraphs)
    return page(
        f"{member.name} ({member.kind.name})",
        *texts,
        wrapped(member.sentences),
        wrapped(member.kind.usage.replace("NAME", member.name)),
    )


def _section(member: Member) -> str:
    return page(f"### {member.name}", member.description, member.sentences)


def _member(kind: RegistryKind, name: str) -> Member | None:
    """Read the member that a module defines; None if it defines none."""
    source = get_data("opdsl", f"{kind.folder}/{name}.py")
    for statement in ast.parse(source or b"").body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and _assigns(statement, kind):
            call = statement.value
            if isinstance(call, ast.Call):
                description = cleandoc(_strings(call)[-1])
                return Member(name, kind, description, dict(_literals(call)))
    return None


def _assigns(statement: ast.Assign | ast.AnnAssign, kind: RegistryKind) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return any(isinstance(x, ast.Name) and x.id == kind.attribute for x in targets)


def _strings(call: ast.Call) -> list[str]:
    """Return the texts among the arguments of a call, the keyword `description` last."""
    keywords = [x.value for x in call.keywords if x.arg == "description"]
    values = (x.value for x in [*call.args, *keywords] if isinstance(x, ast.Constant))
    return [x for x in values if isinstance(x, str)] or [""]


def _literals(call: ast.Call) -> Iterator[tuple[str, Any]]:
    for keyword in call.keywords:
        try:
            yield keyword.arg or "", ast.literal_eval(keyword.value)
        except ValueError:  # an expression that is no literal
            continue
