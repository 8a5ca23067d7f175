"""Parsing of resolutions: `x=64,y=64`, or `D.x=64` where there are several domains."""

from __future__ import annotations

import re
from collections.abc import Iterator

from opdsl.diagnostics import Label, OpError, Source, Span, did_you_mean, fault
from opdsl.ir.certificate import AxisPromise, certify
from opdsl.ir.graph import Graph

AxisKey = tuple[str, str]  # a domain and one of its axes
ENTRY = re.compile(r"\s*((?:[A-Za-z]\w*\.)?[A-Za-z]\w*)\s*=\s*(\d+)\s*")


def parse_at(text: str, graph: Graph) -> dict[str, tuple[int, ...]]:
    """Return the points on each axis of each declared domain; axes of fixed size may be absent.

    Raises:
        OpError: OP0604, the text or an axis is not understood; OP0903, the model does not promise
            this resolution.
    """
    promises = {(x.domain.name, x.axis.name): x for x in certify(graph).promises}
    spans: dict[AxisKey, Span] = {}
    points = {a: p.axis.least for a, p in promises.items() if p.axis.pinned}
    for name, number in _entries(Source("<--at>", text)):
        for axis in _matching_axes(name, promises):
            if axis in spans:
                raise fault("OP0604", f"`{name.text}` is given twice", Label(name))
            spans[axis], points[axis] = name, int(number.text)
    _check_complete(text, promises, points)
    for axis, span in spans.items():
        _check_promise(graph.name, promises[axis], points[axis], span)
    return {d.name: tuple(points[d.name, a.name] for a in d.axes) for d in graph.domains}


def _entries(source: Source) -> Iterator[tuple[Span, Span]]:
    start = 0
    for part in source.text.split(","):
        entry = ENTRY.fullmatch(part)
        if entry is None:
            place = source.span(start, start + len(part))
            raise fault(
                "OP0604",
                f"`{part.strip()}` is not a resolution",
                Label(place, "expected an axis, `=` and a number of points"),
                helps=("write `x=64,y=64`",),
            )
        yield tuple(source.span(start + a, start + b) for a, b in map(entry.span, (1, 2)))  # type: ignore[misc]  # two groups, two spans
        start += len(part) + 1


def _matching_axes(name: Span, known: dict[AxisKey, AxisPromise]) -> list[AxisKey]:
    """Return the axes with a name: `D.x` is one, `x` that of every domain."""
    domain, _, axis = name.text.rpartition(".")
    matches = [a for a in known if a[1] == axis and domain in {"", a[0]}]
    if matches:
        return [a for a in matches if domain or not known[a].axis.pinned] or matches
    names = _names(known)
    raise fault(
        "OP0604",
        f"there is no axis `{name.text}`",
        Label(name, "unknown axis"),
        notes=(f"the axes are: {', '.join(names)}",),
        helps=_axes_of_domain(name.text, known) or did_you_mean(name.text, names),
    )


def _axes_of_domain(name: str, known: dict[AxisKey, AxisPromise]) -> tuple[str, ...]:
    """Suggest the axes where the name is that of a domain."""
    axes = ",".join(f"{d}.{a}={p.axis.least}" for (d, a), p in known.items() if d == name)
    return (f"`{name}` is a domain: write `{axes}`",) if axes else ()


def _names(known: dict[AxisKey, AxisPromise]) -> list[str]:
    one = len({domain for domain, _ in known}) == 1
    return [axis if one else f"{domain}.{axis}" for domain, axis in known]


def _check_complete(
    text: str, known: dict[AxisKey, AxisPromise], points: dict[AxisKey, int]
) -> None:
    missing = {a: p for a, p in known.items() if a not in points}
    if not missing:
        return
    names = ", ".join(f"`{d}.{a}`" for d, a in missing)
    source = Source("<--at>", text)
    raise fault(
        "OP0604",
        f"no number of points for {names}",
        Label(source.span(0, len(text)), "one number is needed for each axis"),
        helps=(f"write `{','.join(f'{n}={p.axis.least}' for n, p in _example(known))}`",),
    )


def _example(known: dict[AxisKey, AxisPromise]) -> list[tuple[str, AxisPromise]]:
    free = {a: p for a, p in known.items() if not p.axis.pinned}
    return list(zip(_names(free), free.values(), strict=True))


def _check_promise(model: str, promise: AxisPromise, n: int, span: Span) -> None:
    """Check that the model promises to work with `n` points on the axis."""
    axis = promise.axis
    if axis.pinned and n != axis.least:
        raise _broken(model, promise, n, span, f"{axis.name} = {axis.least} only")
    if n < axis.least:
        raise _broken(model, promise, n, span, f"{axis.name} >= {axis.least}")
    if axis.max is not None and n > axis.max:
        raise _broken(model, promise, n, span, f"{axis.name} <= {axis.max}")
    if n % axis.multiple_of:
        multiples = f"multiples of {axis.multiple_of} along {axis.name}"
        raise _broken(model, promise, n, span, multiples)


def _broken(model: str, promise: AxisPromise, n: int, span: Span, wanted: str) -> OpError:
    points = f"{n} point{'' if n == 1 else 's'}"
    return fault(
        "OP0903",
        f"{points} along {promise.axis.name} of `{promise.domain}`; `{model}` promises {wanted}",
        Label(span, "breaks the promise"),
        notes=(f"{promise.cause.text}, {promise.cause.place}",) if promise.cause else (),
    )
