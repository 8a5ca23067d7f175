"""Source text of definitions together with everything they need, cut out of their modules.

Where two modules define one name, the second definition is renamed with its module as a prefix,
wherever it is used. Only modules of the definitions' own top package are cut up; anything else they
import is imported again.
"""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import accumulate

from opdsl.export.scopes import module_level_names


@dataclass(frozen=True, slots=True)
class SourceDefinition:
    """A statement of one of our modules that binds a name."""

    module: str
    name: str

    @property
    def statement(self) -> ast.stmt:
        """Node of the class, function or assignment."""
        return _statements(self.module)[self.name]


@dataclass(frozen=True, slots=True)
class External:
    """Import from another package; without `name` the module itself."""

    module: str
    name: str | None = None

    def line(self, bound: str) -> str:
        """Write the statement that imports it under the name `bound`."""
        name = self.module if self.name is None else self.name
        alias = "" if name.partition(".")[0] == bound else f" as {bound}"
        return (
            f"import {name}{alias}"
            if self.name is None
            else f"from {self.module} import {name}{alias}"
        )


@dataclass(frozen=True, slots=True)
class OwnModule:
    """One of our modules under a name; `name.thing` means the definition `thing` in it."""

    module: str


_Target = SourceDefinition | External
_Edit = tuple[int, int, str]  # first byte, the byte behind the last, the new text


class SourceCollection:
    """A set of definitions that is closed under what they need.

    Add everything first; names and texts are final afterwards.

    Attributes:
        reserved: names that no definition and no import may have.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self.reserved = frozenset(reserved)
        self.preferred: dict[_Target, str] = {}
        self._names: dict[_Target, str] = {}
        self.order: list[SourceDefinition] = []  # each behind the definitions it needs

    def add(self, thing: type | object) -> None:
        """Include a class or a function of one of our modules."""
        assert isinstance(thing, type) or inspect.isfunction(thing)
        target = _resolved(thing.__module__, thing.__name__)
        assert isinstance(target, SourceDefinition)
        self._include(target, target.name)

    def add_external(self, module: str, name: str | None = None) -> None:
        """Include an import: `from module import name`, or `import module`."""
        self._include(External(module, name), name or module)

    def _include(self, target: _Target, name: str) -> None:
        if target in self.preferred:
            return
        # before its references: a definition may refer to itself, or two to each other
        self.preferred[target] = name
        if isinstance(target, SourceDefinition):
            for node, needed in _references(target):
                self._include(needed, needed.name if isinstance(needed, SourceDefinition) else node)
            self.order.append(target)

    @property
    def names(self) -> dict[_Target, str]:
        """Name of every definition and import in the emitted text; equal ones share a name."""
        if len(self._names) < len(self.preferred):
            self._names = self._chosen()
        return self._names

    def _chosen(self) -> dict[_Target, str]:
        result: dict[_Target, str] = {}
        owners: dict[str, _Target] = {}
        uses, occupied = self._uses(), self.reserved | self._builtins()
        for target, wanted in self.preferred.items():
            for name in _candidates(target, wanted):
                owner = owners.get(name, target)
                free = name not in occupied and not _captured(name, uses.get(target, ()))
                if free and _equal(owner, target):
                    result[target], owners[name] = name, owner
                    break
        return result

    def name(self, thing: type | object) -> str:
        """Return the name that an added class or function has in the emitted text."""
        target = _resolved(getattr(thing, "__module__", ""), getattr(thing, "__name__", ""))
        assert isinstance(target, SourceDefinition)
        return self.names[target]

    def imports(self) -> list[str]:
        """Write import statements in the order of a style checker: modules, then names of them."""
        named = self.names.items()
        lines = {x.line(name) for x, name in named if isinstance(x, External)}
        return sorted(lines, key=lambda x: (x.startswith("from"), x))

    def texts(self) -> list[str]:
        """Return the source of each definition, in an order in which Python can execute it."""
        names = self.names
        return list(dict.fromkeys(_text(x, names) for x in self.order))

    def _builtins(self) -> set[str]:
        """Builtins that some definition uses, and that no emitted name may hide."""
        return {x for d in self.order for x in _identifiers(d) if hasattr(builtins, x)}

    def _uses(self) -> dict[_Target, list[tuple[str, frozenset[str]]]]:
        """Collect for each target how definitions call it, and the identifiers that occur there."""
        result: dict[_Target, list[tuple[str, frozenset[str]]]] = {}
        for definition in self.order:
            identifiers = _identifiers(definition)
            for name, target in _references(definition):
                result.setdefault(target, []).append((name, identifiers))
        return result


def _captured(name: str, uses: Iterable[tuple[str, frozenset[str]]]) -> bool:
    """Return whether a new name occurs where it is to replace the old one.

    There it may be a local variable, which would hide it.
    """
    return any(name != old and name in identifiers for old, identifiers in uses)


def _candidates(target: _Target, wanted: str) -> Iterator[str]:
    """Yield the wanted name, then with ever more of its module in front, then with a number."""
    yield wanted
    private = "_" if wanted.startswith("_") else ""
    parts = target.module.split(".")
    for i in range(len(parts) - 1, -1, -1):
        yield f"{private}{'_'.join(parts[i:])}_{wanted.lstrip('_')}"
    count = 2
    while True:
        yield f"{wanted}_{count}"
        count += 1


def _equal(a: _Target, b: _Target) -> bool:
    """Return whether two definitions have one text, in which every name has one meaning.

    Type aliases such as `Size = tuple[int, ...]` stand in several modules.
    """
    if a == b or not (isinstance(a, SourceDefinition) and isinstance(b, SourceDefinition)):
        return a == b
    others_a = [x for _, x in _references(a) if x != a]
    others_b = [x for _, x in _references(b) if x != b]
    return _source_lines(a) == _source_lines(b) and others_a == others_b


# --- what names mean --------------------------------------------------------------------------


@cache
def _resolved(module: str, name: str) -> _Target | OwnModule | None:
    """Resolve a name at the top of a module; None if it is a builtin, or undefined."""
    statement = _statements(module).get(name)
    if isinstance(statement, ast.Import):
        return External(next(x.name for x in statement.names if _bound(x) == name))
    if not isinstance(statement, ast.ImportFrom):
        return None if statement is None else SourceDefinition(module, name)
    alias = next(x for x in statement.names if _bound(x) == name)
    source = statement.module or ""
    if source.partition(".")[0] != module.partition(".")[0]:
        return External(source, alias.name)
    return _resolved(source, alias.name) or OwnModule(f"{source}.{alias.name}")


@cache
def _references(definition: SourceDefinition) -> tuple[tuple[str, _Target], ...]:
    """Yield each name that a definition takes from its module, with what it refers to."""
    result: dict[tuple[str, _Target], None] = {}
    for node, attribute in _free_names(definition):
        target = _meant(definition.module, node, attribute)
        if target is not None:
            result[node.id, target] = None
    return tuple(result)


@cache
def _free_names(definition: SourceDefinition) -> list[tuple[ast.Name, ast.Attribute | None]]:
    return module_level_names(definition.statement)


def _meant(module: str, node: ast.Name, attribute: ast.Attribute | None) -> _Target | None:
    target = _resolved(module, node.id)
    if not isinstance(target, OwnModule):
        return target
    assert attribute is not None, f"the module `{target.module}` is used as a value"
    inner = _resolved(target.module, attribute.attr)
    assert not isinstance(inner, OwnModule)
    return inner


@cache
def _identifiers(definition: SourceDefinition) -> frozenset[str]:
    """Collect all identifiers in a definition, local ones and attributes included."""
    nodes = list(ast.walk(definition.statement))
    names = {x.id for x in nodes if isinstance(x, ast.Name)}
    return frozenset(names | {x.arg for x in nodes if isinstance(x, ast.arg)})


@cache
def _statements(module: str) -> dict[str, ast.stmt]:
    """Index the statements of a module that bind a name, by that name."""
    tree = ast.parse(_source(module))
    return {name: x for x in tree.body for name in _binds(x)}


def _binds(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.Import() | ast.ImportFrom():
            yield from map(_bound, statement.names)
        case ast.Assign():
            yield from (x.id for x in statement.targets if isinstance(x, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


# --- text -------------------------------------------------------------------------------------


def _text(definition: SourceDefinition, names: dict[_Target, str]) -> str:
    """Write the lines of a definition, comments included, with every name as emitted."""
    first, last = _span(definition.statement)
    source = _source(definition.module).encode()
    starts = _line_starts(definition.module)
    edits = list(_edits(definition, names, starts))
    for begin, end, new in sorted(edits, reverse=True):
        source = source[:begin] + new.encode() + source[end:]
    growth = sum(len(new.encode()) - (end - begin) for begin, end, new in edits)
    return source[starts[first - 1] : starts[last] + growth].decode().rstrip("\n")


def _edits(
    definition: SourceDefinition, names: dict[_Target, str], starts: list[int]
) -> Iterator[_Edit]:
    source = _source(definition.module).encode()

    def span(x: ast.expr) -> tuple[int, int]:
        assert x.end_lineno is not None
        assert x.end_col_offset is not None
        return starts[x.lineno - 1] + x.col_offset, starts[x.end_lineno - 1] + x.end_col_offset

    for node, attribute in _free_names(definition):
        target = _meant(definition.module, node, attribute)
        attribute_access = isinstance(_resolved(definition.module, node.id), OwnModule)
        if target is not None and (attribute_access or names[target] != node.id):
            begin, end = span(attribute) if attribute_access and attribute else span(node)
            assert attribute_access or source[begin:end].decode() == node.id
            yield begin, end, names[target]
    statement = definition.statement
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        word = b"class " if isinstance(statement, ast.ClassDef) else b"def "
        begin = starts[statement.lineno - 1] + statement.col_offset + len(word)
        if names[definition] != statement.name:
            yield begin, begin + len(statement.name.encode()), names[definition]


def _source_lines(definition: SourceDefinition) -> str:
    first, last = _span(definition.statement)
    return "\n".join(_source(definition.module).splitlines()[first - 1 : last])


def _span(statement: ast.stmt) -> tuple[int, int]:
    """Return the first line, that of a decorator if there is one, and the last."""
    decorators = getattr(statement, "decorator_list", [])
    last = statement.end_lineno
    assert last is not None
    return min([statement.lineno, *(x.lineno for x in decorators)]), last


@cache
def _line_starts(module: str) -> list[int]:
    """Return the offset of the first byte of each line, and last the length of the text."""
    lines = _source(module).encode().splitlines(keepends=True)
    return [0, *accumulate(map(len, lines))]


@cache
def _source(module: str) -> str:
    return inspect.getsource(import_module(module))
