"""Arguments of domain declarations: axes, words, promises about the number of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate.evaluate.problems import Poisoned, Problems
from opdsl.elaborate.evaluate.values import (
    Interval,
    Value,
    Word,
    WordPair,
    describe,
    show,
)
from opdsl.ir.axes import Axis
from opdsl.records import record
from opdsl.sampling import PERIODIC, SAMPLINGS
from opdsl.syntax.tree import Arg, Call, Expr, Name

if TYPE_CHECKING:
    from opdsl.ir.axes import Boundary

BOUNDARIES = ("periodic", "dirichlet", "neumann", "none")
CONDITIONS = BOUNDARIES[1:]  # of one end
NOT_PERIODIC = frozenset(SAMPLINGS) - set(PERIODIC)
AT_ENDS = ("boundary", "sampling")
SCATTERED = ("a set of points", "a graph", "a mesh")
WITHOUT_ENDS = {
    **dict(zip(("points", "graph", "mesh"), SCATTERED, strict=True)),
    "sphere": "a sphere",
    "extend": "an extension, which is periodic,",
}
DomainOptions = dict[str, tuple[Arg, Value]]  # by name: the argument and its value


@record
class OptionReader:
    """Reads the arguments of a declaration.

    Attributes:
        evaluate: gives the value of an expression.
        places: collects where each promise stands, as `D.min`.
    """

    problems: Problems
    evaluate: Callable[[Expr], Value]
    places: dict[str, Span]

    def unnamed(self, call: Call) -> list[Value]:
        """Evaluate the arguments that have no name."""
        return [self.evaluate(x.value) for x in call.args if x.name is None]

    def options(self, name: str, call: Call, known: tuple[str, ...]) -> DomainOptions:
        """Read the arguments `key = value` of the domain `name`.

        Raises:
            Poisoned: OP0207, one is not in `known`.
        """
        options: DomainOptions = {}
        for arg in call.args:
            if arg.name is None or arg.sign != "=":
                continue
            key = arg.name.text
            if key not in known and (kind := WITHOUT_ENDS.get(call.name)) and key in AT_ENDS:
                raise self._without_ends(arg, kind, key)
            if key not in known:
                raise self.problems.fail(
                    "OP0207",
                    f"`{call.name}` has no parameter `{key}`",
                    Label(arg.name.span, "unknown parameter"),
                    notes=(f"`{call.name}` takes: {', '.join(known)}",),
                    helps=did_you_mean(key, known),
                )
            options[key] = (arg, self.evaluate(arg.value))
            self.places[f"{name}.{key}"] = arg.span
        return options

    def _without_ends(self, arg: Arg, kind: str, key: str) -> Poisoned:
        """Report OP0321: what is said about the ends of an axis does not apply to this domain."""
        around = kind in SCATTERED and key == "boundary"
        cure = ("for points in a periodic space write `period = ...`",) if around else ()
        return self.problems.fail(
            "OP0321",
            f"{kind} has no axes with two ends, so `{key}` does not apply",
            Label(arg.span, f"`{key}` is about the ends of the axes of a grid"),
            helps=(*cure, f"leave `{key}` out"),
        )

    def axis(self, arg: Arg) -> dict[str, Any]:
        """Read the name of an axis, and its ends if there are any.

        Raises:
            Poisoned: OP0208, the argument is no axis.
        """
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
                Label(arg.value.span, f"this is {describe(value)}"),
                helps=(f"write `{arg.name.text}: 0..1`",),
            )
        return {"name": arg.name.text, "lo": value.lo, "hi": value.hi}

    def of_axis(self, options: DomainOptions, index: int, axes: int) -> dict[str, Any]:
        """Return the options of axis `index` of `axes`; a tuple has one value for each axis.

        Raises:
            Poisoned: OP0208, a value does not fit.
        """
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
            return self._boundary(arg, value)
        if key == "sampling":
            return self.word(arg, value, key, SAMPLINGS)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.problems.fail(
                "OP0208",
                f"`{key}` is a number of points",
                Label(arg.value.span, f"this is {describe(value)}"),
                helps=(f"write a whole number above zero: `{key} = 64`",),
            )
        return value

    def _boundary(self, arg: Arg, value: Value) -> Boundary:
        """Read the condition at both ends of an axis, or `a..b`, one for each end.

        Raises:
            Poisoned: OP0321, one end alone is periodic; OP0208, an unknown word.
        """
        if not isinstance(value, WordPair):
            return cast("Boundary", self.word(arg, value, "boundary", BOUNDARIES))
        if "periodic" in (value.lower, value.upper):
            raise self.problems.fail(
                "OP0321",
                "a periodic axis has no ends",
                Label(arg.value.span, "one end cannot be periodic without the other"),
                notes=("on a periodic axis the upper end is the lower one",),
                helps=("write `boundary = periodic`, or a condition for each end",),
            )
        pair = (self.word(arg, Word(x), "boundary", CONDITIONS) for x in (value.lower, value.upper))
        return cast("Boundary", tuple(pair))

    def word(self, arg: Arg, value: Value, key: str, words: tuple[str, ...]) -> str:
        """Return the text of `value`, which must be one of `words`.

        Raises:
            Poisoned: OP0208, it is none of `words`.
        """
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

    def choice(self, options: DomainOptions, key: str, words: tuple[str, ...]) -> str:
        """Take the option `key` out of the options; the first of `words` if it is not among them.

        Raises:
            Poisoned: OP0208, it is none of `words`.
        """
        option = options.pop(key, None)
        return self.word(*option, key, words) if option else words[0]

    def checked_axis(self, call: Call, options: dict[str, Any]) -> Axis:
        """Build an axis.

        Raises:
            Poisoned: OP0208, its promises contradict each other.
        """
        if options.get("boundary") == "periodic" and options.get("sampling") in NOT_PERIODIC:
            raise self.problems.fail(
                "OP0322",
                f"a periodic axis cannot have the sampling `{options['sampling']}`",
                Label(call.span, f"`{options['name']}` closes: its two ends are one point"),
                notes=(f"`sampling` of a periodic axis is one of: {', '.join(PERIODIC)}",),
                helps=("leave out the last point, which is the first again: `sampling = lower`",),
            )
        try:
            axis = Axis(**options)
        except ValidationError as error:
            raise self.problems.fail(
                "OP0208",
                "the promises of this axis contradict each other",
                Label(call.span, str(error.errors()[0]["msg"]).lower()),
            ) from error
        if axis.max is not None and axis.max < axis.least:
            raise self.problems.fail(
                "OP0208",
                f"no resolution of `{axis.name}` meets all its promises",
                Label(call.span, f"at least {axis.least} and at most {axis.max} points"),
            )
        return axis

    def fail(self, message: str, label: Label, *helps: str, code: str = "OP0208") -> Poisoned:
        """Report an error with one label; the result is to be raised."""
        return self.problems.fail(code, message, label, helps=helps)
