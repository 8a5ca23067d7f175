"""Whether a symmetry maps the domains of a model onto themselves, and how it moves their points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opdsl.diagnostics import Label, OpError, did_you_mean, fault
from opdsl.ir.axes import Axis
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import Domain
from opdsl.sampling import offset
from opdsl.syntax import tree
from opdsl.train.config.symmetries import GridMap

# what the two axes of an exchange share; the numbers of points are those that are promised
PROMISES = ("min", "max", "multiple_of", "fixed", "size")


def grid_maps(graph: Graph, word: str, axes: Sequence[tree.Name]) -> dict[str, GridMap]:
    """Return how `word` moves the points of each input and output.

    Vectors, which have no domain, are left out: they stay.

    Raises:
        OpError: OP0655, a domain has no such axis or is not mapped onto itself.
    """
    _refuse_unknown(graph, axes)
    _refuse_side_inputs(graph, axes)
    maps = {}
    for port in (*graph.inputs, *graph.outputs):
        domain = port.space.domain
        if domain.kind == "vector":
            continue
        indices = tuple(_index(port, x) for x in axes)
        for text in _obstacles(word, domain, indices):
            span = axes[0].span.cover(axes[-1].span)
            note = f"`{port.name}` is a function on `{domain}`"
            raise fault("OP0655", f"`{word}` {text}", Label(span), notes=(note,), helps=_cure(word))
        maps[port.name] = _map(word, domain, indices)
    return maps


def _refuse_unknown(graph: Graph, axes: Sequence[tree.Name]) -> None:
    domains = {x.space.domain.label: x.space.domain for x in (*graph.inputs, *graph.outputs)}
    names = {y.name: None for x in domains.values() if x.regular for y in x.axes}
    for axis in axes:
        if axis.text not in names:
            listed = (f"there are {', '.join(f'`{x}`' for x in names)}",) if names else ()
            helps = did_you_mean(axis.text, names) or listed
            message = f"no input or output of `{graph.name}` has an axis `{axis.text}` of a grid"
            raise fault("OP0655", message, Label(axis.span), helps=helps)


def _refuse_side_inputs(graph: Graph, axes: Sequence[tree.Name]) -> None:
    for x in graph.side_inputs():
        message = f"`{x.name}` is given with each call of the model and would not be transformed"
        helps = ("make it an input of the model", "or leave out `symmetries`")
        raise fault("OP0655", message, Label(axes[0].span), helps=helps)


def _index(port: Port, axis: tree.Name) -> int:
    """Return the index of an axis in the domain of a function."""
    domain = port.space.domain
    matches = [i for i, x in enumerate(domain.axes) if x.name == axis.text]
    if domain.regular and len(matches) == 1:
        return matches[0]
    raise _no_axis(port, axis, len(matches))


def _no_axis(port: Port, axis: tree.Name, count: int) -> OpError:
    domain = port.space.domain
    if not domain.regular:
        message = f"`{port.name}` is a function on `{domain}`, which is no regular grid"
    elif count:
        message = f"`{domain}`, the domain of `{port.name}`, has {count} axes `{axis.text}`"
    else:
        message = f"`{domain}`, the domain of `{port.name}`, has no axis `{axis.text}`"
    notes = ("a symmetry moves all inputs and outputs together",)
    return fault("OP0655", message, Label(axis.span), notes=notes)


def _obstacles(word: str, domain: Domain, indices: Sequence[int]) -> Iterator[str]:
    """Yield the reasons why a domain is not mapped onto itself, as the end of a sentence."""
    axes = [domain.axes[i] for i in indices]
    if word == "shift" and not axes[0].periodic:
        yield f"moves points beyond the ends of the axis `{axes[0].name}`, which is not periodic"
    if word in ("swap", "rotate"):
        yield from _differences(domain, indices)
    if word in ("reflect", "rotate"):
        for axis in axes:
            yield from _asymmetries(axis)


def _differences(domain: Domain, indices: Sequence[int]) -> Iterator[str]:
    """Yield what two axes do not share."""
    a, b = (domain.axes[i] for i in indices)
    steps = [domain.part(i)[0].steps for i in indices]
    names = f"`{a.name}` and `{b.name}`"
    if a.hi - a.lo != b.hi - b.lo:
        yield f"needs axes of equal length: {names} have {a.hi - a.lo:g} and {b.hi - b.lo:g}"
    if a.boundary != b.boundary:
        first, second = _boundary(a), _boundary(b)
        yield f"needs axes of equal boundary: {names} have `{first}` and `{second}`"
    if a.points != b.points:
        yield f"needs axes of equal sampling: {names} have `{a.points}` and `{b.points}`"
    for key in PROMISES:
        first, second = getattr(a, key), getattr(b, key)
        if first != second:
            yield f"needs axes of equal numbers of points: `{key}` is {first} and {second}"
    if steps[0] != steps[1]:
        yield f"needs axes of equal numbers of points: {names} are coarsened by different factors"


def _asymmetries(axis: Axis) -> Iterator[str]:
    """Yield why a reflection does not map an axis onto itself."""
    if axis.ends is None:
        return
    lower, upper = axis.ends
    if lower != upper:
        conditions = f"`{lower}` and `{upper}`"
        yield f"exchanges the ends of the axis `{axis.name}`, whose conditions are {conditions}"
    if axis.points in ("lower", "upper"):
        place = f"its {axis.points} end only"
        yield f"needs points at both ends or at none: the axis `{axis.name}` has one at {place}"


def _boundary(axis: Axis) -> str:
    return axis.boundary if isinstance(axis.boundary, str) else "..".join(axis.boundary)


def _cure(word: str) -> tuple[str, ...]:
    """Return what to write instead."""
    if word == "rotate":
        return ("leave it out, or declare `reflect` on the axes that allow it",)
    return ("leave it out, or correct the declaration of the domain",)


def _map(word: str, domain: Domain, indices: Sequence[int]) -> GridMap:
    rolls = tuple((i, _roll(domain.axes[i])) for i in indices)
    match word:
        case "reflect":
            return GridMap(domain.dims, reversals=rolls)
        case "shift":
            return GridMap(domain.dims, shifted=indices[0])
        case "swap":
            return GridMap(domain.dims, exchanged=(indices[0], indices[1]))
    # a quarter turn: (T u)(x, y) = u(y, -x), so `y` is reversed before both are exchanged
    return GridMap(domain.dims, reversals=rolls[1:], exchanged=(indices[0], indices[1]))


def _roll(axis: Axis) -> int:
    """Return the roll that follows a reversed order of points.

    On a periodic axis the points (j + o) h are mapped to (n - j - o) h, index n - 2 o - j, which
    the reversed order n - 1 - j reaches by a roll of 1 - 2 o. Ends are mapped onto each other.
    """
    return int(1 - 2 * offset(axis.points)) if axis.periodic else 0
