"""Declarations of domains: `grid(x: 0..1)`, `interval(t: 0..1)`, `points(3)`, `sphere(lat, lon)`.

What comes in: a call with its arguments evaluated. What goes out: a `Domain`, or one diagnostic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate.problems import Poisoned, Problems
from opdsl.elaborate.values import Interval, Value, Word, kind, show
from opdsl.ir.spaces import KINDS, MEASURED, REGULAR, Axis, Domain, Extend, Kind
from opdsl.syntax.tree import Arg, Call, Name

if TYPE_CHECKING:
    from fractions import Fraction

    from opdsl.ir.spaces import Filling, Measure, Sampling

BOUNDARIES = ("periodic", "dirichlet", "neumann", "none")
PROMISES = ("min", "max", "multiple_of", "fixed", "size")
GRID = ("boundary", *PROMISES)
SAMPLINGS = ("gauss_legendre", "lobatto", "equiangular")
ROUNDINGS = ("up", "nearest")
GEOMETRIES = ("shared", "per_sample")
MEASURES = ("given", "voronoi", "density", "uniform")
FILLINGS = ("zero", "legendre", "gram")
CONSTRUCTORS = ("grid", "interval", "points", "graph", "mesh", "sphere", "extend", "spectrum")

WORDS = (*BOUNDARIES, *SAMPLINGS, *GEOMETRIES, *MEASURES, *FILLINGS, "end", "both")

MOST_AMBIENT = 8  # dimensions of the space of points; more is a mistake
MOST_VORONOI = 3  # dimensions in which Voronoi cells are found
KIND_OF: dict[str, Kind] = {"points": "points", "graph": "graph", "mesh": "mesh"}
# latitude from pole to pole, longitude all around, in degrees
BALL: tuple[dict[str, Any], ...] = (
    {"lo": -90.0, "hi": 90.0},
    {"lo": 0.0, "hi": 360.0, "boundary": "periodic"},
)

Evaluate = Callable[[Any], Value]


class DomainReader:
    """Makes the domain `name` from a call; `places` collects where each promise stands."""

    def __init__(self, problems: Problems, evaluate: Evaluate, places: dict[str, Span]) -> None:
        self.problems = problems
        self.evaluate = evaluate
        self.places = places

    def read(self, name: str, call: Call) -> Domain:
        """The domain that `call` declares under `name`.

        Raises:
            Poisoned: after the diagnostic.
        """
        self.places[name] = call.span
        reader = {
            "grid": self._grid,
            "interval": self._interval,
            "points": self._points,
            "graph": self._points,
            "mesh": self._points,
            "sphere": self._sphere,
            "extend": self._extend,
            "spectrum": self._named_spectrum,
        }[call.name]
        return reader(name, call)

    # ------------------------------------------------------------------ grid

    def _grid(self, name: str, call: Call) -> Domain:
        axes = [x for x in call.args if x.sign != "="]
        if not axes:
            raise self.problems.fail(
                "OP0205",
                f"the grid `{name}` has no axes",
                Label(call.span, "names of axes are missing"),
                helps=("name them: `grid(x: 0..1, y: 0..1)`",),
            )
        options = self._options(name, call, GRID)
        made = [
            self._axis(arg) | self._axis_options(options, i, len(axes))
            for i, arg in enumerate(axes)
        ]
        self._distinct(axes, made)
        return Domain(name=name, axes=tuple(self._checked(call, x) for x in made))

    def _interval(self, name: str, call: Call) -> Domain:
        """One axis, as time is."""
        axes = [x for x in call.args if x.sign != "="]
        if len(axes) != 1:
            raise self.problems.fail(
                "OP0208",
                "an interval has one axis",
                Label(call.span, f"{len(axes)} given"),
                helps=("write `interval(t: 0..1)`",),
            )
        return self._grid(name, call).model_copy(update={"kind": "interval"})

    def _axis(self, arg: Arg) -> dict[str, Any]:
        if arg.sign == "" and isinstance(arg.value, Name):
            return {"name": arg.value.text}
        if arg.sign != ":" or arg.name is None:
            raise self.problems.fail(
                "OP0208",
                "an axis of a grid is a name",
                Label(arg.span, "this is not one"),
                helps=("write `x` or, with its ends, `x: 0..1`",),
            )
        value = self.evaluate(arg.value)
        if not isinstance(value, Interval) or value.lo >= value.hi:
            raise self.problems.fail(
                "OP0208",
                f"the axis `{arg.name.text}` needs its two ends, the lower one first",
                Label(arg.value.span, f"this is {kind(value)}"),
                helps=(f"write `{arg.name.text}: 0..1`",),
            )
        return {"name": arg.name.text, "lo": value.lo, "hi": value.hi}

    def _distinct(self, axes: list[Arg], made: list[dict[str, Any]]) -> None:
        names = [x["name"] for x in made]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise self.problems.fail(
                    "OP0203",
                    f"two axes are called `{name}`",
                    Label(axes[i].span, "the second one"),
                    Label(axes[names.index(name)].span, "the first one"),
                )

    def _options(
        self, name: str, call: Call, known: tuple[str, ...]
    ) -> dict[str, tuple[Arg, Value]]:
        options: dict[str, tuple[Arg, Value]] = {}
        for arg in call.args:
            if arg.name is None or arg.sign != "=":
                continue
            key = arg.name.text
            if key not in known:
                raise self._unknown(call.name, arg, known)
            options[key] = (arg, self.evaluate(arg.value))
            self.places[f"{name}.{key}"] = arg.span
        return options

    def _unknown(self, what: str, arg: Arg, known: tuple[str, ...]) -> Poisoned:
        assert arg.name is not None
        return self.problems.fail(
            "OP0207",
            f"`{what}` has no parameter `{arg.name.text}`",
            Label(arg.name.span, "unknown parameter"),
            notes=(f"`{what}` takes: {', '.join(known)}",),
            helps=did_you_mean(arg.name.text, known),
        )

    def _axis_options(
        self, options: dict[str, tuple[Arg, Value]], index: int, axes: int
    ) -> dict[str, Any]:
        return {k: self._one(arg, v, k, index, axes) for k, (arg, v) in options.items()}

    def _one(self, arg: Arg, value: Value, key: str, index: int, axes: int) -> object:
        if isinstance(value, tuple):
            if len(value) != axes:
                raise self.problems.fail(
                    "OP0208",
                    f"`{key}` has {len(value)} values for {axes} axes",
                    Label(arg.value.span, "one value for each axis, or one for all"),
                )
            value = value[index]
        if key == "boundary":
            return self._word(arg, value, "boundary", BOUNDARIES)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.problems.fail(
                "OP0208",
                f"`{key}` is a number of points",
                Label(arg.value.span, f"this is {kind(value)}"),
                helps=(f"write a whole number above zero: `{key} = 64`",),
            )
        return value

    def _word(self, arg: Arg, value: Value, key: str, words: tuple[str, ...]) -> str:
        text = value.text if isinstance(value, Word) else show(value)
        if not isinstance(value, Word) or text not in words:
            raise self.problems.fail(
                "OP0208",
                f"`{key}` cannot be `{text}`",
                Label(arg.value.span, "unknown word" if isinstance(value, Word) else "not a word"),
                notes=(f"`{key}` is one of: {', '.join(words)}",),
                helps=did_you_mean(text, words),
            )
        return text

    def _checked(self, call: Call, options: dict[str, Any]) -> Axis:
        """The axis; what contradicts itself is refused."""
        try:
            axis = Axis(**options)
        except ValidationError as error:
            raise self.problems.fail(
                "OP0208",
                "this axis cannot be",
                Label(call.span, str(error.errors()[0]["msg"]).lower()),
            ) from error
        if axis.max is not None and axis.max < axis.least:
            raise self.problems.fail(
                "OP0208",
                f"no resolution of `{axis.name}` meets all its promises",
                Label(call.span, f"at least {axis.least} and at most {axis.max} points"),
            )
        return axis

    # ------------------------------------------------------- points and sphere

    def _points(self, name: str, call: Call) -> Domain:
        values = [self.evaluate(x.value) for x in call.args if x.name is None]
        whole = [x for x in values if isinstance(x, int) and not isinstance(x, bool)]
        if len(values) != 1 or not whole or not 1 <= whole[0] <= MOST_AMBIENT:
            raise self.problems.fail(
                "OP0208",
                f"{call.name} lie in a space of 1 to {MOST_AMBIENT} dimensions"
                if call.name == "points"
                else f"a {call.name} lies in a space of 1 to {MOST_AMBIENT} dimensions",
                Label(call.span, "the dimension is missing" if not values else "not such a number"),
                helps=(f"write `{call.name}(3)`",),
            )
        known = ("geometry", "measure", "period", "min", "max", "fixed")
        options = self._options(name, call, known)
        geometry, period = options.pop("geometry", None), options.pop("period", None)
        word = self._word(*geometry, "geometry", GEOMETRIES) if geometry else "shared"
        measure = options.pop("measure", None)
        axis = {"name": "points"} | self._axis_options(options, 0, 1)
        return Domain(
            kind=KIND_OF[call.name],
            name=name,
            ambient=whole[0],
            geometry="per_sample" if word == "per_sample" else "shared",
            measure=self._measure(*measure, whole[0]) if measure else MEASURED[call.name],
            period=self._period(*period, whole[0]) if period else None,
            axes=(self._checked(call, axis),),
        )

    def _measure(self, arg: Arg, value: Value, dims: int) -> Measure:
        """How the share of each point in an integral is found."""
        word = self._word(arg, value, "measure", MEASURES)
        if word == "voronoi" and dims > MOST_VORONOI:
            raise self.problems.fail(
                "OP0208",
                f"Voronoi cells are found in 1 to {MOST_VORONOI} dimensions",
                Label(arg.value.span, f"these points lie in {dims}"),
                helps=("estimate from the neighbours: `measure = density`",),
            )
        return cast("Measure", word)

    def _period(self, arg: Arg, value: Value, dims: int) -> tuple[float | None, ...] | None:
        """For each coordinate the length after which space repeats."""
        each = value if isinstance(value, tuple) else (value,) * dims
        if len(each) != dims:
            raise self.problems.fail(
                "OP0208",
                f"`period` has {len(each)} values for {dims} dimensions",
                Label(arg.value.span, "one value for each coordinate, or one for all"),
            )
        lengths = tuple(self._length(arg, x) for x in each)
        return lengths if any(lengths) else None

    def _length(self, arg: Arg, value: Value) -> float | None:
        if isinstance(value, Word) and value.text == "none":
            return None
        if isinstance(value, int | float) and value is not True and 0 < value < math.inf:
            return float(value)
        raise self.problems.fail(
            "OP0208",
            "`period` is the length after which space repeats",
            Label(arg.value.span, f"this is {kind(value)}"),
            helps=("write a number above zero, or `none`: `period = (1.0, none)`",),
        )

    def _sphere(self, name: str, call: Call) -> Domain:
        axes = [x for x in call.args if x.name is None]
        if len(axes) != 2:
            raise self.problems.fail(
                "OP0208",
                "a sphere has two axes, latitude and longitude",
                Label(call.span, f"{len(axes)} given"),
                helps=("write `sphere(lat, lon)`",),
            )
        options = self._options(name, call, ("sampling", *PROMISES))
        sampling = options.pop("sampling", None)
        word = self._word(*sampling, "sampling", SAMPLINGS) if sampling else SAMPLINGS[0]
        made = [
            self._axis(x) | BALL[i] | self._axis_options(options, i, 2) for i, x in enumerate(axes)
        ]
        return Domain(
            kind="sphere",
            name=name,
            sampling=cast("Sampling", word),
            axes=tuple(self._checked(call, x) for x in made),
        )

    # ---------------------------------------------------------------- extend

    def _extend(self, name: str, call: Call) -> Domain:
        options = self._options(name, call, ("fraction", "sides", "kind", "rounding"))
        inner = [self.evaluate(x.value) for x in call.args if x.name is None]
        if len(inner) != 1 or not isinstance(inner[0], Domain) or inner[0].kind not in REGULAR:
            raise self.problems.fail(
                "OP0209",
                "`extend` takes one grid",
                Label(call.span, f"this is {kind(inner[0])}" if inner else "none is given"),
                helps=("write `extend(D, fraction = 0.125)`",),
            )
        sides = options.get("sides")
        where = self._word(*sides, "sides", ("end", "both")) if sides else "end"
        filling = options.get("kind")
        what = self._word(*filling, "kind", FILLINGS) if filling else FILLINGS[0]
        least = 0 if what == "zero" else None
        numerator, denominator = self._fractions(call, options, inner[0].dims, least)
        way = options.get("rounding")
        rounding = self._word(*way, "rounding", ROUNDINGS) if way else ROUNDINGS[0]
        return inner[0].extended(
            Extend(
                name=name,
                numerator=numerator,
                denominator=denominator,
                sides="both" if where == "both" else "end",
                kind=cast("Filling", what),
                rounding="nearest" if rounding == "nearest" else "up",
            )
        )

    # -------------------------------------------------------------- spectrum

    def _named_spectrum(self, _: str, call: Call) -> Domain:
        return self.spectrum(call)  # which is named by the domain whose modes it has

    def spectrum(self, call: Call) -> Domain:
        """`spectrum(D, 16)`: the modes |k| <= 16 of a regular grid.

        Raises:
            Poisoned: after the diagnostic.
        """
        values = [self.evaluate(x.value) for x in call.args if not x.name]
        base = values[0] if values else None
        if len(values) != len(call.args) or len(values) != 2 or not isinstance(base, Domain):
            raise self.problems.fail(
                "OP0209",
                "`spectrum` takes a domain and the greatest frequency",
                Label(call.span, "these do not fit"),
                helps=("write `spectrum(D, 16)`, or one number for each axis: `(16, 8)`",),
            )
        if not base.satisfies("grid"):
            raise self.problems.fail(
                "OP0301",
                "`spectrum` is defined on a regular grid only",
                Label(call.args[0].span, f"`{base}` is {KINDS[base.kind]}"),
            )
        return base.spectrum(self._modes(values[1], base, call.args[1].span))

    def _modes(self, value: Value, base: Domain, span: Span) -> tuple[int, ...]:
        modes = value if isinstance(value, tuple) else (value,) * base.dims
        if len(modes) != base.dims:
            raise self.problems.fail(
                "OP0308",
                f"{len(modes)} numbers of modes for {base.dims} axes",
                Label(span, f"`{base}` has the axes {', '.join(x.name for x in base.axes)}"),
                notes=("one number stands for all axes",),
            )
        whole = tuple(x for x in modes if isinstance(x, int) and not isinstance(x, bool) and x >= 0)
        if len(whole) != len(modes):
            raise self.problems.fail(
                "OP0208",
                "a greatest frequency is a whole number",
                Label(span, f"this is {kind(value)}"),
            )
        return whole

    def _fractions(
        self,
        call: Call,
        options: dict[str, tuple[Arg, Value]],
        dims: int,
        least: int | None,
    ) -> tuple[int | tuple[int, ...], int]:
        """The numerators, one or one for each axis, and their denominator.

        Args:
            call: of `extend`.
            options: its named arguments.
            dims: axes of the domain.
            least: 0 where an axis may stay as long as it is; None: none may.
        """
        if "fraction" not in options:
            raise self.problems.fail(
                "OP0205",
                "`extend` needs `fraction`",
                Label(call.span, "how much longer is the extended domain?"),
                helps=("write `extend(D, fraction = 0.125)`",),
            )
        arg, value = options["fraction"]
        each = value if isinstance(value, tuple) else (value,)
        if isinstance(value, tuple) and len(each) != dims:
            raise self.problems.fail(
                "OP0208",
                f"`fraction` has {len(each)} values for {dims} axes",
                Label(arg.value.span, f"this is {kind(value)}"),
                helps=("write one number, or one for each axis",),
            )
        found = [self._fraction(x, arg) for x in each]
        if not any(found) or (not all(found) and least is None):
            raise self._no_fraction(0, arg)
        denominator = math.lcm(*(x.denominator for x in found))
        numerators = tuple(int(x * denominator) for x in found)
        alike = len(set(numerators)) == 1
        return numerators[0] if alike else numerators, denominator

    def _fraction(self, value: Value, arg: Arg) -> Fraction:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 8:
            raise self._no_fraction(value, arg)
        from fractions import Fraction  # only for programs that extend a domain

        return Fraction(repr(value))

    def _no_fraction(self, value: Value, arg: Arg) -> Poisoned:
        return self.problems.fail(
            "OP0208",
            "`fraction` is a part of the domain's length",
            Label(arg.value.span, f"this is {kind(value)}"),
            helps=("write a number above 0, at most 8: `fraction = 0.125`",),
        )
