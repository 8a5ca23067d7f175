"""The definitions that a class needs, cut out of the modules in which they stand.

What comes in: classes and functions. What goes out: the lines that import from elsewhere, and the
text of each definition behind those it needs. Only a definition's own package is cut up; whatever
else it imports is imported again.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module


@dataclass(slots=True)
class Sources:
    """Definitions collected so far.

    Attributes:
        imports: lines such as `from torch import nn`, by the name that they bind.
        texts: source of each definition, by name, in an order in which Python can read them.
    """

    imports: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)

    def add(self, thing: type | object) -> None:
        """A class or function, with all that it needs."""
        assert isinstance(thing, type) or inspect.isfunction(thing)
        self._take(thing.__module__, thing.__name__)

    def names(self) -> set[str]:
        """Every name that is bound."""
        return {*self.imports, *self.texts}

    def _take(self, module: str, name: str) -> None:
        statement = _statements(module).get(name)
        if statement is None or self.homes.get(name) == module:
            return
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self._import(statement, module, name)
            return
        text = _text(module, statement)
        assert self.texts.get(name, text) == text, f"two definitions are named `{name}`"
        self.homes[name] = module
        for needed in _reads(statement):
            self._take(module, needed)
        self.texts.setdefault(name, text)

    def _import(self, statement: ast.Import | ast.ImportFrom, module: str, name: str) -> None:
        source = statement.module if isinstance(statement, ast.ImportFrom) else None
        if source and source.partition(".")[0] == module.partition(".")[0]:
            self._take(source, name)
        else:
            alias = next(x for x in statement.names if (x.asname or x.name) == name)
            line = _import_line(source, alias)
            assert self.imports.setdefault(name, line) == line, f"two imports bind `{name}`"


def _import_line(source: str | None, alias: ast.alias) -> str:
    renamed = f" as {alias.asname}" if alias.asname else ""
    return f"{f'from {source} ' if source else ''}import {alias.name}{renamed}"


def _reads(statement: ast.stmt) -> list[str]:
    """The names that occur, once each, in the order of the text."""
    return list(dict.fromkeys(x.id for x in ast.walk(statement) if isinstance(x, ast.Name)))


@cache
def _statements(module: str) -> dict[str, ast.stmt]:
    """The statements of a module that bind a name, by name."""
    tree = ast.parse(_source(module))
    return {name: x for x in tree.body for name in _binds(x)}


def _binds(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.Import() | ast.ImportFrom():
            yield from (x.asname or x.name for x in statement.names)
        case ast.Assign():
            yield from (x.id for x in statement.targets if isinstance(x, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _text(module: str, statement: ast.stmt) -> str:
    """The lines of a statement, with its decorators."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(x.lineno for x in decorators)])
    return "\n".join(_source(module).splitlines()[first - 1 : statement.end_lineno])


@cache
def _source(module: str) -> str:
    return inspect.getsource(import_module(module))
