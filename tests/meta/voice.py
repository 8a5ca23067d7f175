"""Counts what `design/voice.md` rules out: old templates, old names, names with several meanings.

    python -m tests.meta.voice

prints one line for each folder of the package, and below it what to change.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "opdsl"

TEMPLATE = re.compile(r"\bWhat (?:comes in|goes out)\b")
AGAIN = re.compile(r"The same\b")

# modules of the old layout, by folder
OLD_MODULES = {
    "cli": "guard judge shapes",
    "data": "memory more_fields raw room sites",
    "ir": "copies join parts reach telling",
    "lower": "case each given units",
    "nn": "cells coarse copies faults kd_tree kept nearby parts solenoidal tables tree",
    "summary": "room",
    "syntax": "blanks scene stories wording",
    "train": "journal rounding sections snapshot start",
}
OLD_CLASSES = frozenset({"Kept", "Cut", "Grow", "Stepper", "Taken", "Feed"})
OLD_FUNCTIONS = frozenset(
    {"remembered", "picked", "beside", "alike", "told_places", "times", "on_axes", "told"}
)
OLD_MEMBERS = frozenset({"bends", "bend", "asks", "carries", "excites", "rings", "pins", "lonely"})
OLD_CONSTANTS = frozenset({"TOUCH"})

LONG = 400  # lines of a module
MANY = 16  # modules of a folder

# modules that are one algorithm, or one table
ONE_ALGORITHM: dict[str, str] = {
    "opdsl/blocks/spectral/spectral_conv.py": "one block: every fact about it, in all bases",
    "opdsl/lower/memory/timeline.py": "the simulation of the memory of a step",
    "opdsl/syntax/tree.py": "one class for each rule of the grammar",
}
# folders with one module for each thing of a kind
ONE_FILE_EACH: dict[str, str] = {
    "opdsl/blocks/pointwise": "one file for each block",
    "opdsl/cli": "one file for each command",
    "opdsl/data/generate": "one file for each generator",
    "opdsl/data/generate/problems": "one file for each problem, and what they share",
    "opdsl/ir": "one file for each question that is asked of a graph",
    "opdsl/syntax": "one file for each stage of the parser and of its recovery",
}
# the tree of the syntax names things as the program writes them: its `Domain` is a statement
AS_WRITTEN = "opdsl/syntax/tree.py"
# names that are defined more than once for another reason
SEVERAL_HOMES: dict[str, str] = {
    "DiscoConv": "on a grid and on a sphere, both of one block",
}


def sources() -> list[Path]:
    """All modules of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def folder_of(path: Path) -> str:
    """`opdsl/nn`: the part of the package that a module belongs to."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def folders() -> list[str]:
    """The parts of the package."""
    return sorted({folder_of(x) for x in sources()})


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# --- docstrings -------------------------------------------------------------------------------


def docstrings(path: Path, said: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Where a docstring stands, and its text; of modules that say a thing anywhere."""
    if not said.search(path.read_text(encoding="utf-8")):
        return  # most modules; to parse all of them takes long
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield f"{_name(path)}: {getattr(node, 'name', 'the module')}", text


def templates(folder: str) -> list[str]:
    """Docstrings that follow the template of inputs and outputs."""
    found = (y for x in sources() if folder_of(x) == folder for y in docstrings(x, TEMPLATE))
    return [where for where, text in found if TEMPLATE.search(text)]


def repetitions(folder: str) -> list[str]:
    """Docstrings that lean on the one before."""
    found = (y for x in sources() if folder_of(x) == folder for y in docstrings(x, AGAIN))
    return [where for where, text in found if AGAIN.match(text)]


# --- names ------------------------------------------------------------------------------------


def old_names(folder: str) -> list[str]:
    """Modules, classes, functions and members that have a better name by now."""
    found = []
    for path in (x for x in sources() if folder_of(x) == folder):
        parent, stem = path.parent.relative_to(PACKAGE).as_posix(), path.stem
        if stem in OLD_MODULES.get(parent, "").split():
            found.append(_name(path))
        found += [f"{_name(path)}: {x}" for x in _old_definitions(_tree(path))]
    return found


def _old_definitions(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        name = _bound(node)
        old = OLD_CLASSES if isinstance(node, ast.ClassDef) else OLD_FUNCTIONS
        if name in old | OLD_CONSTANTS and not isinstance(node, ast.AnnAssign):
            yield name
        if isinstance(node, ast.ClassDef):
            members = {_bound(x) for x in node.body}
            yield from (f"{node.name}.{x}" for x in sorted(members & OLD_MEMBERS))
            if node.name.endswith("Policy") and "settle" in members:
                yield f"{node.name}.settle"


def _bound(node: ast.stmt) -> str:
    match node:
        case ast.ClassDef() | ast.FunctionDef():
            return node.name
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def type_homes() -> dict[str, list[str]]:
    """The modules that define each exported type name, of names with several meanings."""
    homes: dict[str, dict[str, str]] = defaultdict(dict)
    for path in (x for x in sources() if _name(x) != AS_WRITTEN):
        for node in _tree(path).body:
            name = _bound(node)
            alias = isinstance(node, ast.Assign | ast.AnnAssign) and _is_type_name(name)
            if (isinstance(node, ast.ClassDef) or alias) and not name.startswith("_"):
                homes[name][_name(path)] = ast.dump(node)
    several = {k: x for k, x in sorted(homes.items()) if len(set(x.values())) > 1}
    return {k: [*x] for k, x in several.items() if not _is_block_pair([*x])}


def _is_type_name(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", name))


def _is_block_pair(homes: list[str]) -> bool:
    """A block and the module of torch that it is lowered to have one name."""
    return len(homes) == 2 and {x.split("/")[1] for x in homes} == {"blocks", "nn"}


# --- sizes ------------------------------------------------------------------------------------


def long_modules() -> dict[str, int]:
    """Modules above the limit, with their lines."""
    lines = {_name(x): len(x.read_text(encoding="utf-8").splitlines()) for x in sources()}
    return {k: n for k, n in lines.items() if n > LONG}


def full_folders() -> dict[str, int]:
    """Folders with more modules than the limit."""
    counts: dict[str, int] = defaultdict(int)
    for path in sources():
        counts[_name(path.parent)] += path.name != "__init__.py"
    return {k: n for k, n in sorted(counts.items()) if n > MANY}


def report() -> Iterator[str]:
    """One line for each folder, then what to change."""
    for folder in folders():
        counts = (templates(folder), repetitions(folder), old_names(folder))
        kinds = ("old templates", "`The same`", "old names")
        told = (f"{len(x)} {kind}" for x, kind in zip(counts, kinds, strict=True))
        yield f"{folder}: {', '.join(told)}"
        yield from (f"    {x}" for y in counts for x in y)
    yield from (f"several homes: {k}: {', '.join(x)}" for k, x in type_homes().items())
    yield from (f"long: {k}: {n} lines" for k, n in long_modules().items())
    yield from (f"full: {k}: {n} modules" for k, n in full_folders().items())


if __name__ == "__main__":
    print("\n".join(report()))  # noqa: T201  a script
