"""Differences between two models: parameters, domains, ports, feedback, nodes.

Changes are listed by name or path, each `+` (new), `-` (gone) or `~` (other), with the parameters
that are gained or lost. Equal iterations of a repeat are one line; nodes are identified by their
paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from opdsl.export.diff_text import to_text, totals
from opdsl.ir.axes import Axis, Boundary
from opdsl.ir.display import telling, value_text
from opdsl.ir.ends import ends_text
from opdsl.ir.fingerprint import fingerprint, in_order, meant
from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.outline import Group, outline
from opdsl.ir.spaces import MEASURED, Domain

ChangeSign = Literal["+", "-", "~"]
_T = TypeVar("_T")

PROMISES = ("min", "max", "multiple_of", "fixed", "size")


@dataclass(frozen=True, slots=True)
class ModelChange:
    """Change of one item, which is new, gone or other.

    Attributes:
        name: name or path of the item, followed by `×4` for four equal iterations.
        details: text of the item, or each changed property as `before => after`.
        params: trained numbers gained, negative if lost.
    """

    sign: ChangeSign
    name: str
    details: tuple[str, ...]
    params: int = 0

    def to_json(self) -> dict[str, Any]:
        """Convert the change to plain data; the key `told` predates the attribute `details`."""
        fields = {"sign": self.sign, "name": self.name, "told": self.details}
        return {**fields, "params": self.params}


@dataclass(frozen=True, slots=True)
class Difference:
    """All differences between two models.

    Attributes:
        same: whether both are one function of the same weights.
        params: trained numbers before and after.
        settings: parameters of the model.
    """

    same: bool
    params: tuple[int, int]
    settings: tuple[ModelChange, ...]
    domains: tuple[ModelChange, ...]
    ports: tuple[ModelChange, ...]
    nodes: tuple[ModelChange, ...]

    @property
    def verdict(self) -> str:
        """One line that says whether the function differs, or only names and promises."""
        if not self.same:
            return "another function"
        names = any(x.sign == "~" for x in self.nodes) or bool(self.ports)
        changes = [x for x, changed in (("names", names), ("promises", self.domains)) if changed]
        return "the same function" + (f" with other {' and '.join(changes)}" if changes else "")

    def __str__(self) -> str:
        """Return what `opdsl diff` prints."""
        return to_text(self)

    def __repr__(self) -> str:
        """Return one line: the verdict and the numbers of parameters."""
        return f"<Difference: {self.verdict}, {totals(self).replace('  ', ' ')}>"

    def to_json(self) -> dict[str, Any]:
        """Convert the difference to plain data for `json.dumps`."""
        parts = ("settings", "domains", "ports", "nodes")
        lists = {x: [y.to_json() for y in getattr(self, x)] for x in parts}
        return {"verdict": self.verdict, "same": self.same, "params": self.params, **lists}


def compare(old: Graph, new: Graph) -> Difference:
    """List what is new in `new`, gone from `old`, or other."""
    before, after = _rows(old), _rows(new)
    same = fingerprint(old) == fingerprint(new)
    return Difference(
        same=same,
        params=(_total(before), _total(after)),
        settings=_changes(_named(old.params), _named(new.params), _setting),
        domains=_changes(_domains(old), _domains(new), _domain),
        ports=_changes(_ports(old), _ports(new), _port),
        nodes=_renamed(old, new) if same else _changes(before, after, _node),
    )


def _renamed(old: Graph, new: Graph) -> tuple[ModelChange, ...]:
    """List the nodes of one function that are renamed, and those that no output needs."""
    pairs = list(zip(in_order(old), in_order(new), strict=True))
    renamed = [
        ModelChange("~", a.path, (f"is now {b.path}",)) for a, b in pairs if a.path != b.path
    ]
    before, after = ({x.path: x for x in y.nodes} for y in (old, new))
    for a, b in pairs:
        del before[a.path], after[b.path]
    unused = [ModelChange("-", x, ("never used",)) for x in before if x not in after]
    return (
        *renamed,
        *unused,
        *(ModelChange("+", x, ("never used",)) for x in after if x not in before),
    )


_Describe = Callable[[str, _T | None, _T | None], ModelChange | None]


def _changes(
    old: Mapping[str, _T], new: Mapping[str, _T], describe: _Describe[_T]
) -> tuple[ModelChange, ...]:
    """List changes in the order of the new model, gone items at their place in the old one."""
    changes = (describe(x, old.get(x), new.get(x)) for x in _merge_names([*old], [*new]))
    return tuple(x for x in changes if x)


def _merge_names(old: list[str], new: list[str]) -> Iterator[str]:
    """Yield the names of both, each once; a gone one follows its predecessor in the old order."""
    present, gone = set(new), dict[str, list[str]]()
    last = ""
    for x in old:
        if x in present:
            last = x
        else:
            gone.setdefault(last, []).append(x)
    for x in ("", *new):
        yield from (x,) if x else ()
        yield from gone.get(x, ())


def _sign(old: object, new: object) -> ChangeSign:
    return "+" if old is None else "-" if new is None else "~"


def _arrow(what: str, old: object, new: object) -> str:
    return f"{what}{_text(old)} => {_text(new)}"


def _text(value: object) -> str:
    return "none" if value is None else value_text(value)


# --- parameters, domains and ports ------------------------------------------------------------


def _named(params: Mapping[str, object]) -> dict[str, tuple[object]]:
    return {name: (value,) for name, value in params.items()}


def _setting(name: str, old: tuple[object] | None, new: tuple[object] | None) -> ModelChange | None:
    if old == new:
        return None
    if old is None or new is None:
        (value,) = new or old or ("",)
        return ModelChange(_sign(old, new), name, (_text(value),))
    return ModelChange("~", name, (_arrow("", old[0], new[0]),))


def _domains(graph: Graph) -> dict[str, str | Axis]:
    """Collect each declared domain by name, and each of its axes as `D.x`."""
    result: dict[str, str | Axis] = {}
    for x in graph.domains:
        result[x.name] = _domain_text(x)
        result |= {f"{x.name}.{a.name}": a for a in x.axes}
    return result


def _domain_text(x: Domain) -> str:
    axes = ", ".join(a.name for a in x.axes)
    embedding = (x.sampling, f"in R^{x.ambient}" if x.ambient else None)
    geometry = "of each sample" if x.geometry == "per_sample" else None
    measure = f"measure {x.measure}" if x.measure != MEASURED.get(x.kind) else None
    around = [f"{a:g}" if a else "none" for a in x.period or ()]
    period = f"period ({', '.join(around)})" if around else None
    parts = (f"{x.kind}({axes})", *embedding, geometry, measure, period)
    return ", ".join(y for y in parts if y)


def _domain(name: str, old: str | Axis | None, new: str | Axis | None) -> ModelChange | None:
    if old == new:
        return None
    if isinstance(old, Axis) and isinstance(new, Axis):
        return ModelChange("~", name, _axis_changes(old, new))
    if old is None or new is None:
        value = new or old
        changes = _axis(value) if isinstance(value, Axis) else (str(value),)
        return ModelChange(_sign(old, new), name, (", ".join(changes),))
    return ModelChange("~", name, (_arrow("", old, new),))


def _axis(axis: Axis) -> tuple[str, ...]:
    values = ((x, getattr(axis, x)) for x in PROMISES)
    promises = (f"{x} {y}" for x, y in values if y != Axis.model_fields[x].default)
    sampling = () if axis.sampling is None else (f"sampling {axis.sampling}",)
    return (f"{axis.lo:g}..{axis.hi:g}", _boundary(axis.boundary), *sampling, *promises)


def _axis_changes(old: Axis, new: Axis) -> tuple[str, ...]:
    ends = (f"{old.lo:g}..{old.hi:g}", f"{new.lo:g}..{new.hi:g}")
    changes = [_arrow("", *ends)] if ends[0] != ends[1] else []
    if old.boundary != new.boundary:
        changes.append(_arrow("boundary ", _boundary(old.boundary), _boundary(new.boundary)))
    if old.points != new.points:
        changes.append(_arrow("sampling ", old.points, new.points))
    for key in PROMISES:
        a, b = getattr(old, key), getattr(new, key)
        changes += [_arrow(f"{key} ", a, b)] if a != b else []
    return tuple(changes)


def _boundary(boundary: Boundary) -> str:
    return boundary if isinstance(boundary, str) else "..".join(boundary)


def _ports(graph: Graph) -> dict[str, tuple[str, str]]:
    """Describe inputs and outputs with their places, and feedback, by name."""
    result = {f"input {x.name}": (_space(x), f"place {i}") for i, x in enumerate(graph.inputs, 1)}
    result |= {f"output {x.name}": (_space(x), "") for x in graph.outputs}
    return result | {f"feedback {x.output} -> {x.input}": ("", "") for x in graph.feedback}


def _space(port: Port) -> str:
    names = port.space.components
    ends = "" if port.ends is None else f", ends = {ends_text(port.ends)}"
    return f"{port.space}{' {' + ', '.join(names) + '}' if names else ''}{ends}"


_PortTexts = tuple[str, str]


def _port(name: str, old: _PortTexts | None, new: _PortTexts | None) -> ModelChange | None:
    if old is None or new is None:
        return ModelChange(_sign(old, new), name, ((new or old or ("",))[0],))
    changes = tuple(_arrow("", a, b) for a, b in zip(old, new, strict=True) if a != b)
    return ModelChange("~", name, changes) if changes else None


# --- nodes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A node and its compared properties.

    Attributes:
        times: number of equal nodes it stands for; `copies` of them have weights of their own.
        params_by_name: its parameters, normalised.
        inputs: the nodes that stand for its inputs.
        source: the node whose weights it uses.
    """

    node: Node
    call_arguments: tuple[str, ...]
    params_by_name: Mapping[str, object]
    inputs: tuple[str, ...]
    source: str
    times: int
    copies: int
    params: int

    @property
    def name(self) -> str:
        """Path of the node, and the number of equal nodes it stands for."""
        suffix = " shared" if self.copies < self.times else ""
        return self.node.path + (f" ×{self.times}{suffix}" if self.times > 1 else "")


def _rows(graph: Graph) -> dict[str, _Row]:
    """Make one row for each node that is listed, by path."""
    folded = outline(graph)

    def rows(items: tuple[Group | Node, ...], times: int, copies: int) -> Iterator[_Row]:
        for x in items:
            if isinstance(x, Group):
                yield from rows(x.children, times * x.times, copies * x.copies)
            else:
                yield _row(graph, x, folded.stand_in, times, copies)

    return {x.node.path: x for x in rows(folded.children, 1, 1)}


def _row(graph: Graph, node: Node, stand_in: Callable[[str], str], times: int, copies: int) -> _Row:
    x = graph.arguments(node)
    shared = node.shares is not None
    return _Row(
        node=node,
        call_arguments=telling(node, x),
        params_by_name=meant(node, x),
        inputs=tuple(map(stand_in, node.inputs)),
        source=stand_in(node.shares) if node.shares else "",
        times=times,
        copies=copies,
        params=0 if shared else node.block.cost(*x).params * copies,
    )


def _total(rows: Mapping[str, _Row]) -> int:
    return sum(x.params for x in rows.values())


def _node(path: str, old: _Row | None, new: _Row | None) -> ModelChange | None:  # noqa: ARG001  the rows know it
    if old is None or new is None:
        row = new or old
        assert row is not None
        text = f"{row.node.keyword}({', '.join(row.call_arguments)}) : {row.node.space}"
        return ModelChange(_sign(old, new), row.name, (text,), row.params if new else -row.params)
    changes = tuple(_node_changes(old, new))
    return ModelChange("~", new.name, changes, new.params - old.params) if changes else None


def _node_changes(old: _Row, new: _Row) -> Iterator[str]:
    """Yield each change of a node as `what before => after`."""
    if old.node.keyword != new.node.keyword:
        yield _arrow("", old.node.keyword, new.node.keyword)
    for key in {**old.params_by_name, **new.params_by_name}:
        a, b = old.params_by_name.get(key), new.params_by_name.get(key)
        if _text(a) != _text(b) and not (key == "to" and _follows_target(old, new)):
            yield _arrow(f"{key} ", a, b)
    yield from _space_changes(old, new)
    if old.inputs != new.inputs:
        yield _arrow("takes ", ", ".join(old.inputs), ", ".join(new.inputs))
    if old.source != new.source:
        yield _arrow("weights of ", old.source or "its own", new.source or "its own")
    if (old.times, old.copies) != (new.times, new.copies):
        yield _arrow("", _repeat_text(old), _repeat_text(new))


def _space_changes(old: _Row, new: _Row) -> Iterator[str]:
    """Yield the change of the space, unless the parameter `out` says it already."""
    a, b = old.node.space, new.node.space
    if str(a.domain) != str(b.domain) or a.field != b.field:
        yield _arrow("", str(a), str(b))
    elif a.channels != b.channels and old.params_by_name.get("out") == new.params_by_name.get(
        "out"
    ):
        yield _arrow("", f"{a.field}^{a.channels}", f"{b.field}^{b.channels}")


def _follows_target(old: _Row, new: _Row) -> bool:
    """Return whether the parameter `to` repeats the domain of the space, compared anyway."""
    return all(x.params_by_name.get("to") == x.node.space.domain for x in (old, new))


def _repeat_text(row: _Row) -> str:
    return f"×{row.times}" + (" shared" if row.copies < row.times else "")
