"""OP0309: the modes of an operator must fit the smallest resolution that the program promises."""

from collections.abc import Iterator

from opdsl.diagnostics import Diagnostic, Help, Label, Span, blame
from opdsl.ir.axes import Axis
from opdsl.ir.block import Bound
from opdsl.ir.certificate import Cause, certify
from opdsl.ir.graph import Graph


def too_many_modes(graph: Graph) -> Iterator[Diagnostic]:
    """Report the tightest bound of each of the user's own calls that keeps too much."""
    worst: dict[Span, tuple[Cause, Axis]] = {}
    for cause in certify(graph).causes:
        axis = cause.bound.domain.axes[cause.bound.axis]
        site = _site(cause)
        if axis.least < cause.points and (site not in worst or _tighter(cause, worst[site][0])):
            worst[site] = (cause, axis)
    for cause, axis in worst.values():
        yield _fault(graph, cause, axis)


def _site(cause: Cause) -> Span:
    labels = blame((Label(cause.node.spans[-1]),), cause.node.spans)
    return labels[0].span


def _tighter(cause: Cause, other: Cause) -> bool:
    return cause.points > other.points


def _fault(graph: Graph, cause: Cause, axis: Axis) -> Diagnostic:
    bound = cause.bound
    points = f"{bound.points} point" + ("" if bound.points == 1 else "s")
    requirement = f"keeping {bound.keeps} on `{bound.domain}` needs at least {points}"
    labels = (Label(cause.node.spans[-1], requirement), *_promise(graph, bound, axis))
    return Diagnostic(
        "OP0309",
        f"too many {bound.what} for the resolution this model promises",
        blame(labels, cause.node.spans),
        notes=(f"{bound.note} per axis of `{bound.domain}`", *_coarser(bound, axis)),
        helps=_cures(cause, axis),
    )


def _promise(graph: Graph, bound: Bound, axis: Axis) -> tuple[Label, ...]:
    name = bound.domain.name
    keys = [f"{name}.{x}" for x in ("fixed", "size", "min")] + [name]
    place = next((graph.places[x] for x in keys if x in graph.places), None)
    may = (
        f"`{name}` has {axis.least}" if axis.pinned else f"`{name}` may have as few as {axis.least}"
    )
    return (Label(place, f"but {may}"),) if place else ()


def _coarser(bound: Bound, axis: Axis) -> tuple[str, ...]:
    if not bound.domain.steps:
        return ()
    points = bound.domain.points_on(bound.axis, axis.least)
    return (f"`{bound.domain}` has {points} points where `{bound.domain.name}` has {axis.least}",)


def _cures(cause: Cause, axis: Axis) -> tuple[Help, ...]:
    points = cause.bound.domain.points_on(cause.bound.axis, axis.least)
    key = "fixed" if axis.fixed else "size" if axis.size else "min"
    promise = Help(f"raise the promise: `{key} = {cause.points}`")
    if points < 1:
        return (promise,)
    return (promise, Help(f"or keep fewer {cause.bound.what}: `{cause.bound.cure(points)}`"))
