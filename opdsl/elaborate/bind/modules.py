"""Files and their imports: each file becomes a `Module`, which maps names to definitions.

`std.x` is `library/x.op`; a string is a path from the importing file, inside the folder of the
program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from opdsl import resources
from opdsl.diagnostics import Label, Source, Span, did_you_mean
from opdsl.elaborate.evaluate.problems import Poisoned, Problems
from opdsl.elaborate.evaluate.values import Value
from opdsl.files import read_text
from opdsl.syntax.parser import SIZE, parse
from opdsl.syntax.tree import Const, Definition, Equation, File, Import

DEPTH = 16  # imports of imports; more is a mistake


@dataclass(slots=True, eq=False, repr=False)
class NamedConstant:
    """A constant and the state of its evaluation; files that import it share it."""

    statement: Const
    module: Module
    state: Literal["new", "busy", "done", "bad"] = "new"
    value: Value | None = None


@dataclass(slots=True, eq=False, repr=False)
class Module:
    """A file and the definitions that its names mean, its own and the imported ones.

    Attributes:
        equations: functions of losses and metrics by name, with the modules that define them.
        aliases: whole modules by name (`import std.fourier as f`).
        lost: names whose statement or import failed; they are not reported again.
        busy: its constants that are being evaluated, the outermost first.
    """

    file: File
    definitions: dict[str, tuple[Module, Definition]] = field(default_factory=dict)
    consts: dict[str, NamedConstant] = field(default_factory=dict)
    equations: dict[str, tuple[Module, Equation]] = field(default_factory=dict)
    aliases: dict[str, Module] = field(default_factory=dict)
    imported: dict[str, Span] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    busy: list[NamedConstant] = field(default_factory=list)


@dataclass(slots=True, eq=False, repr=False)
class Loader:
    """Reads each file once.

    Attributes:
        root: imports of files stay inside this folder; None where the program is a bare text.
    """

    problems: Problems
    root: Path | None
    loaded: dict[str, Module] = field(default_factory=dict)
    stack: list[str] = field(default_factory=list)

    def module(self, file: File, folder: Path | None) -> Module:
        """Load the imports of a file; `folder` is where their relative paths start."""
        module = Module(file, lost=set(file.lost))
        for item in file.items:
            match item:
                case Import():
                    self._import(module, item, folder)
                case Definition() | Equation():
                    self._define(module, item)
                case Const():
                    module.consts[item.name.text] = NamedConstant(item, module)
        return module

    def _define(self, module: Module, item: Definition | Equation) -> None:
        name = item.name.text
        first = module.imported.get(name)
        defined = module.definitions.get(name) or module.equations.get(name)
        if defined and first is None:
            first = defined[1].name.span
        if first is not None:
            self._twice(name, first, item.name.span)
        elif isinstance(item, Equation):
            module.equations[name] = (module, item)
        else:
            module.definitions[name] = (module, item)

    def _twice(self, name: str, first: Span, again: Span) -> None:
        self.problems.fail(
            "OP0203",
            f"`{name}` is defined twice",
            Label(again, f"`{name}` is defined again here"),
            Label(first, "first defined here"),
            helps=("give the second one its own name",),
        )

    def _import(self, module: Module, item: Import, folder: Path | None) -> None:
        try:
            source = self._load(item, folder)
        except Poisoned:
            module.lost.update(x.text for x in item.names)
            return
        if not item.names:
            alias = item.alias or item.path[-1]
            module.aliases[alias.text] = source
        for name in item.names:
            if defined := module.definitions.get(name.text) or module.equations.get(name.text):
                first = module.imported.get(name.text, defined[1].name.span)
                self._twice(name.text, first, name.span)
            elif name.text in source.definitions:
                module.definitions[name.text] = source.definitions[name.text]
                module.imported[name.text] = name.span
            elif name.text in source.equations:
                module.equations[name.text] = source.equations[name.text]
                module.imported[name.text] = name.span
            elif name.text in source.consts:
                module.consts[name.text] = source.consts[name.text]
            else:
                module.lost.add(name.text)
                self._missing(name.text, name.span, item, source)

    def _missing(self, name: str, span: Span, item: Import, source: Module) -> None:
        names = sorted(source.definitions | source.equations)
        self.problems.fail(
            "OP0202",
            f"`{item.source_span.text}` has no block `{name}`",
            Label(span, "not found"),
            notes=(f"it has: {', '.join(names)}",) if names else (),
            helps=did_you_mean(name, names),
        )

    def _load(self, item: Import, folder: Path | None) -> Module:
        path = self._file(item, folder) if item.file is not None else self._library(item)
        key = str(path)
        if key in self.loaded:
            return self.loaded[key]
        if key in self.stack or len(self.stack) >= DEPTH:
            raise self.problems.fail(
                "OP0211",
                "imports go round in a circle" if key in self.stack else "imports are too deep",
                Label(item.source_span, "imported again from here"),
                helps=("move what both files need into a third one",),
            )
        self.stack.append(key)
        try:
            module = self._read(item, path)
        finally:
            self.stack.pop()
        self.loaded[key] = module
        return module

    def _read(self, item: Import, path: Path) -> Module:
        library = item.file is None
        name = f"library/{path.name}" if library else _display_path(path)
        try:
            # a character has at most 4 bytes
            source = Source(name, read_text(path, 4 * SIZE), library)
        except (OSError, UnicodeDecodeError) as error:
            raise self.problems.fail(
                "OP0202",
                f"cannot read `{item.source_span.text}`",
                Label(item.source_span, _reason(error)),
            ) from error
        file, faults = parse(source)
        for fault in faults:
            self.problems.add(fault)
        return self.module(file, path.parent)

    def _library(self, item: Import) -> Path:
        names = [x.text for x in item.path]
        library = sorted(x.stem for x in resources.root("library").glob("*.op"))
        if names[0] != "std" or len(names) != 2 or names[1] not in library:
            raise self.problems.fail(
                "OP0202",
                f"unknown module `{'.'.join(names)}`",
                Label(item.source_span, "not found"),
                notes=(f"the library has: {', '.join('std.' + x for x in library)}",),
                helps=did_you_mean(".".join(names), [f"std.{x}" for x in library])
                or ('import a file of your own by its path: `from "blocks.op" import ...`',),
            )
        return resources.root("library") / f"{names[1]}.op"

    def _file(self, item: Import, folder: Path | None) -> Path:
        base = folder or Path.cwd()
        root = (self.root or base).resolve()
        try:
            path = (base / (item.file or "")).resolve()
        except (OSError, ValueError) as error:  # ValueError: the path contains a NUL
            raise self.problems.fail(
                "OP0202",
                f"cannot read `{item.source_span.text}`",
                Label(item.source_span, "this is not a path"),
            ) from error
        if not path.is_relative_to(root):
            raise self.problems.fail(
                "OP0202",
                "an import leaves the folder of the program",
                Label(item.source_span, f"this is outside of `{root.name}/`"),
                helps=("copy the file beside the program",),
            )
        return path


def models(file: File) -> tuple[Definition, ...]:
    """Return the models that a file defines, in order."""
    return tuple(x for x in file.items if isinstance(x, Definition) and x.keyword == "model")


def providers(name: str) -> tuple[str, ...]:
    """Return the names of the library modules that define a block."""
    pattern = re.compile(rf"^block {re.escape(name)}\b", re.MULTILINE)
    files = sorted(resources.root("library").glob("*.op"))
    return tuple(f"std.{x.stem}" for x in files if pattern.search(x.read_text(encoding="utf-8")))


def _display_path(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "unreadable").lower() if isinstance(error, OSError) else "not UTF-8"
