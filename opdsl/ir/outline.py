"""The outline of a graph: its scopes as a tree, with equal iterations of a repeat shown once.

Groups and nodes stand in the order of the graph; every node that is not shown has a representative.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from opdsl.ir.graph import Graph, Node, Scope


@dataclass(frozen=True, slots=True)
class Group:
    """A scope that a reader sees as one thing: a block, a residual, a repeat of several stages.

    Attributes:
        times: the number of equal groups in a row that this one stands for.
        copies: the number of these that have weights of their own.
    """

    scope: Scope
    children: tuple[Group | Node, ...]
    times: int = 1
    copies: int = 1

    @property
    def title(self) -> str:
        """The name of the scope, with the number of equal iterations that the group stands for."""
        tied = " shared" if self.copies < self.times else ""
        return self.scope.title + (f" ×{self.times}{tied}" if self.times > 1 else "")

    def nodes(self) -> Iterator[Node]:
        """Yield every node inside; equal iterations are visited once."""
        for child in self.children:
            yield from child.nodes() if isinstance(child, Group) else (child,)


@dataclass(frozen=True, slots=True)
class Outline:
    """The tree of groups and nodes, and the representative of each node that is not shown."""

    children: tuple[Group | Node, ...]
    stand_ins: Mapping[str, str]

    def stand_in(self, path: str) -> str:
        """Return the path that is shown for `path`, the path of a node or an input of the model."""
        # a representative may lie in an iteration that is itself represented by another one
        while path in self.stand_ins:
            path = self.stand_ins[path]
        return path


def outline(graph: Graph) -> Outline:
    """Build the outline of a graph; bindings and single iterations become no group of their own."""
    children = _held(graph)
    stand_ins: dict[str, str] = {}
    parts = [_part(x, children, stand_ins) for x in children[""]]
    return Outline(tuple(y for x in parts for y in _groups(x)), stand_ins)


def _groups(item: _Part | Node) -> list[Group | Node]:
    if isinstance(item, Node):
        return [item]
    inside = [y for x in item.children for y in _groups(x)]
    if item.scope.kind in {"binding", "repeat"}:
        return inside
    if item.scope.kind == "iteration":
        return _iteration(item, inside)
    return [Group(item.scope, tuple(inside))]


def _iteration(item: _Part, inside: list[Group | Node]) -> list[Group | Node]:
    only = inside[0] if len(inside) == 1 else None
    copies = 1 if item.scope.shared else item.times
    if isinstance(only, Group):
        return [replace(only, times=only.times * item.times, copies=only.copies * copies)]
    if item.times == 1:
        return inside
    scope = item.scope.model_copy(update={"title": "repeat"})
    return [Group(scope, tuple(inside), item.times, copies)]


# -------------------------------------------------- scopes as they are, and their folding


@dataclass(frozen=True, slots=True)
class _Part:
    """A scope with its children; an iteration stands for `times` equal ones in a row."""

    scope: Scope
    children: tuple[_Part | Node, ...]
    times: int = 1

    def nodes(self) -> Iterator[Node]:
        """Yield every node inside; equal iterations are visited once."""
        for child in self.children:
            yield from child.nodes() if isinstance(child, _Part) else (child,)


_Held = Mapping[str, list[Scope | Node]]


def _held(graph: Graph) -> _Held:
    """Map the path of each scope to its direct children, in the order of the graph."""
    scopes = {x.path: x for x in graph.scopes}
    children: dict[str, list[Scope | Node]] = defaultdict(list)
    visited: set[str] = set()
    for node in graph.nodes:
        child: Scope | Node = node
        parent = _parent(child.path, scopes)
        children[parent].append(child)
        while parent and parent not in visited:
            visited.add(parent)
            child = scopes[parent]
            parent = _parent(child.path, scopes)
            children[parent].append(child)
    return children


def _parent(path: str, scopes: Mapping[str, Scope]) -> str:
    while path := path.rpartition(".")[0]:
        if path in scopes:
            return path
    return ""


def _part(item: Scope | Node, held: _Held, stand_ins: dict[str, str]) -> _Part | Node:
    if isinstance(item, Node):
        return item
    inside = [_part(x, held, stand_ins) for x in held[item.path]]
    return _Part(item, tuple(_folded(inside, stand_ins)))


def _folded(children: list[_Part | Node], stand_ins: dict[str, str]) -> list[_Part | Node]:
    """Merge runs of equal iterations among the children of a scope."""
    merged: list[_Part | Node] = []
    previous: _Part | None = None
    for child in children:
        last = merged[-1] if merged else None
        if _repeats(last, previous, child):
            assert isinstance(last, _Part)
            assert isinstance(child, _Part)
            merged[-1] = _Part(last.scope, last.children, last.times + 1)
            stand_ins.update(_pairs(child, last))
        else:
            merged.append(child)
        previous = child if isinstance(child, _Part) else None
    return merged


def _pairs(copy: _Part, shown: _Part) -> Iterator[tuple[str, str]]:
    for node in copy.nodes():
        yield node.path, shown.scope.path + node.path.removeprefix(copy.scope.path)


def _repeats(shown: _Part | Node | None, previous: _Part | None, child: _Part | Node) -> bool:
    """Return whether `child` is one more iteration like `previous`, which `shown` represents."""
    if not (isinstance(shown, _Part) and isinstance(child, _Part) and previous):
        return False
    if child.scope.kind != "iteration" or previous.scope.kind != "iteration":
        return False
    one, two = list(previous.nodes()), list(child.nodes())
    pair = (previous.scope.path + ".", child.scope.path + ".")
    return len(one) == len(two) and all(_alike(a, b, pair) for a, b in zip(one, two, strict=True))


def _alike(a: Node, b: Node, scopes: tuple[str, str]) -> bool:
    """Return whether node `b` does in its iteration what node `a` does in the iteration before."""
    previous, current = scopes
    return (
        a.path.removeprefix(previous) == b.path.removeprefix(current)
        and a.block == b.block
        and a.space == b.space
        and len(a.inputs) == len(b.inputs)
        and all(_same_source(x, y, scopes) for x, y in zip(a.inputs, b.inputs, strict=True))
    )


def _same_source(x: str, y: str, scopes: tuple[str, str]) -> bool:
    """Return whether two inputs correspond: in the iteration itself, the one before, or outside."""
    previous, current = scopes
    if y.startswith(current):
        return x.startswith(previous) and x.removeprefix(previous) == y.removeprefix(current)
    if y.startswith(previous):
        return not x.startswith(previous)
    return x == y
