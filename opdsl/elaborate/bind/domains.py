"""Declarations of domains: `grid(x: 0..1)`, `interval(t: 0..1)`, `points(3)`, `sphere(lat, lon)`.

Each constructor is a function from the arguments of the call to a `Domain`; the first argument that
does not fit is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from opdsl.diagnostics import Label
from opdsl.elaborate.bind.domain_options import BOUNDARIES, OptionReader
from opdsl.elaborate.bind.extensions import FILLINGS, extended, spectrum
from opdsl.elaborate.evaluate.values import Value, Word, describe
from opdsl.ir.spaces import MEASURED, Domain, DomainKind
from opdsl.sampling import SAMPLINGS
from opdsl.syntax.tree import Arg, Call

if TYPE_CHECKING:
    from opdsl.ir.spaces import Measure, Sampling

PROMISES = ("min", "max", "multiple_of", "fixed", "size")
GRID = ("boundary", "sampling", *PROMISES)
SPHERE_SAMPLINGS = ("gauss_legendre", "lobatto", "equiangular", "centres")
GEOMETRIES = ("shared", "per_sample")
MEASURES = ("given", "voronoi", "density", "uniform")

WORDS = (*BOUNDARIES, *SAMPLINGS, *SPHERE_SAMPLINGS, *GEOMETRIES, *MEASURES, *FILLINGS, "end")

MAX_AMBIENT = 8  # dimensions of the space of points; more is a mistake
MAX_VORONOI = 3  # most dimensions in which Voronoi cells are computed
KIND_OF: dict[str, DomainKind] = {"points": "points", "graph": "graph", "mesh": "mesh"}
# latitude from pole to pole, longitude all around, in degrees
SPHERE_AXES: tuple[dict[str, Any], ...] = (
    {"lo": -90.0, "hi": 90.0},
    {"lo": 0.0, "hi": 360.0, "boundary": "periodic"},
)


def read_domain(reader: OptionReader, name: str, call: Call) -> Domain:
    """Build the domain that `call` declares under `name`.

    Raises:
        Poisoned: after the diagnostic.
    """
    reader.places[name] = call.span
    return CONSTRUCTORS[call.name](reader, name, call)


# ------------------------------------------------------------------------- grids


def _grid(reader: OptionReader, name: str, call: Call) -> Domain:
    axes = [x for x in call.args if x.sign != "="]
    if not axes:
        raise reader.fail(
            f"the grid `{name}` has no axes",
            Label(call.span, "names of axes are missing"),
            "name them: `grid(x: 0..1, y: 0..1)`",
            code="OP0205",
        )
    options = reader.options(name, call, GRID)
    fields = [reader.axis(x) | reader.of_axis(options, i, len(axes)) for i, x in enumerate(axes)]
    _check_names(reader, axes, [x["name"] for x in fields])
    return Domain(name=name, axes=tuple(reader.checked_axis(call, x) for x in fields))


def _interval(reader: OptionReader, name: str, call: Call) -> Domain:
    """Build a domain of one axis, such as time."""
    axes = [x for x in call.args if x.sign != "="]
    if len(axes) != 1:
        raise reader.fail(
            "an interval has one axis",
            Label(call.span, f"{len(axes)} given"),
            "write `interval(t: 0..1)`",
        )
    return _grid(reader, name, call).model_copy(update={"kind": "interval"})


def _check_names(reader: OptionReader, axes: list[Arg], names: list[str]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise reader.problems.fail(
                "OP0203",
                f"two axes are called `{name}`",
                Label(axes[i].span, "the second one"),
                Label(axes[names.index(name)].span, "the first one"),
            )


# ------------------------------------------------------------- points and sphere


def _points(reader: OptionReader, name: str, call: Call) -> Domain:
    values = reader.unnamed(call)
    whole = [x for x in values if isinstance(x, int) and not isinstance(x, bool)]
    if len(values) != 1 or not whole or not 1 <= whole[0] <= MAX_AMBIENT:
        lie = "points lie" if call.name == "points" else f"a {call.name} lies"
        raise reader.fail(
            f"{lie} in a space of 1 to {MAX_AMBIENT} dimensions",
            Label(call.span, "the dimension is missing" if not values else "not such a number"),
            f"write `{call.name}(3)`",
        )
    keys = ("geometry", "measure", "period", "min", "max", "fixed")
    options = reader.options(name, call, keys)
    geometry = reader.choice(options, "geometry", GEOMETRIES)
    period, measure = options.pop("period", None), options.pop("measure", None)
    axis = {"name": "points"} | reader.of_axis(options, 0, 1)
    return Domain(
        kind=KIND_OF[call.name],
        name=name,
        ambient=whole[0],
        geometry="per_sample" if geometry == "per_sample" else "shared",
        measure=_measure(reader, *measure, whole[0]) if measure else MEASURED[call.name],
        period=_period(reader, *period, whole[0]) if period else None,
        axes=(reader.checked_axis(call, axis),),
    )


def _measure(reader: OptionReader, arg: Arg, value: Value, dims: int) -> Measure:
    """Read the source of the quadrature weights of the points."""
    word = reader.word(arg, value, "measure", MEASURES)
    if word == "voronoi" and dims > MAX_VORONOI:
        raise reader.fail(
            f"Voronoi cells are found in 1 to {MAX_VORONOI} dimensions",
            Label(arg.value.span, f"these points lie in {dims}"),
            "estimate from the neighbours: `measure = density`",
        )
    return cast("Measure", word)


def _period(
    reader: OptionReader, arg: Arg, value: Value, dims: int
) -> tuple[float | None, ...] | None:
    """Read for each coordinate the length after which space repeats, or None."""
    each = value if isinstance(value, tuple) else (value,) * dims
    if len(each) != dims:
        raise reader.fail(
            f"`period` has {len(each)} values for {dims} dimensions",
            Label(arg.value.span, "one value for each coordinate, or one for all"),
        )
    lengths = tuple(_length(reader, arg, x) for x in each)
    return lengths if any(lengths) else None


def _length(reader: OptionReader, arg: Arg, value: Value) -> float | None:
    if isinstance(value, Word) and value.text == "none":
        return None
    if isinstance(value, int | float) and value is not True and 0 < value < math.inf:
        return float(value)
    raise reader.fail(
        "`period` is the length after which space repeats",
        Label(arg.value.span, f"this is {describe(value)}"),
        "write a number above zero, or `none`: `period = (1.0, none)`",
    )


def _sphere(reader: OptionReader, name: str, call: Call) -> Domain:
    axes = [x for x in call.args if x.name is None]
    if len(axes) != 2:
        raise reader.fail(
            "a sphere has two axes, latitude and longitude",
            Label(call.span, f"{len(axes)} given"),
            "write `sphere(lat, lon)`",
        )
    options = reader.options(name, call, ("sampling", *PROMISES))
    sampling = reader.choice(options, "sampling", SPHERE_SAMPLINGS)
    fields = [
        reader.axis(x) | SPHERE_AXES[i] | reader.of_axis(options, i, 2) for i, x in enumerate(axes)
    ]
    return Domain(
        kind="sphere",
        name=name,
        sampling=cast("Sampling", sampling),
        axes=tuple(reader.checked_axis(call, x) for x in fields),
    )


def _spectrum(reader: OptionReader, _: str, call: Call) -> Domain:
    return spectrum(reader, call)  # its name is that of the grid, not the declared one


CONSTRUCTORS: dict[str, Callable[[OptionReader, str, Call], Domain]] = {
    "grid": _grid,
    "interval": _interval,
    "points": _points,
    "graph": _points,
    "mesh": _points,
    "sphere": _sphere,
    "extend": extended,
    "spectrum": _spectrum,
}
