"""The axes of a sweep: `model.width=16,32,64` and `optimizer.lr=log(1e-4, 1e-2, 8)`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from opdsl.diagnostics import Diagnostic, Label, OpError, Source, fault

OPTION = "--over"
SCALES = ("log", "linear")
RANGE = re.compile(rf"\s*({'|'.join(SCALES)})\s*\((.*)\)\s*", re.DOTALL)
MOST = 10_000  # values of an axis, and points of a grid
DIGITS = 6  # significant digits of a value from a range, which is stored as its text
OPENING, CLOSING = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class SweepAxis:
    """A parameter or setting, and the values that a sweep gives it.

    Attributes:
        key: dotted name, `model.width` or `optimizer.lr`.
        values: texts of the values; empty for a range without a number of values.
        low, high: ends of such a range, both included.
        scale: `log` or `linear`, by which a range is divided.
        whole: whether the values of a range are integers, as its ends are.
    """

    key: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    scale: str = "linear"
    whole: bool = False

    @property
    def continuous(self) -> bool:
        """Whether any value between the ends may be chosen."""
        return not self.values

    @property
    def extremes(self) -> tuple[str, ...]:
        """All listed values; of a continuous range both ends."""
        return self.values or (self.text(self.low), self.text(self.high))

    def at(self, fraction: float) -> str:
        """Return the value at a fraction of a range, 0 for `low` and 1 for `high`."""
        if self.scale == "log":
            low, high = math.log(self.low), math.log(self.high)
            return self.text(math.exp(low + fraction * (high - low)))
        return self.text(self.low + fraction * (self.high - self.low))

    def text(self, value: float) -> str:
        """Write a value of a range: an integer, or a number of six significant digits."""
        if self.whole:
            return str(round(value))
        text = f"{min(max(value, self.low), self.high):.{DIGITS}g}"
        return text if re.search(r"[.e]", text) else f"{text}.0"

    def choose(self, random: Random) -> str:
        """Draw a value, uniformly on the scale of the axis."""
        return random.choice(self.values) if self.values else self.at(random.random())

    def __str__(self) -> str:
        if self.values:
            return f"{self.key}={','.join(self.values)}"
        return f"{self.key}={self.scale}({self.text(self.low)}, {self.text(self.high)})"


def parse_axis(text: str) -> SweepAxis:
    """Parse the text of one `--over`.

    `KEY=V1,V2,...` lists values as a program writes them; commas in brackets do not separate.
    `KEY=log(LOW, HIGH, COUNT)` and `linear` divide a range; integers stay integers. Without COUNT
    any value of the range may be chosen, which a grid cannot do.

    Raises:
        OpError: OP0743, the text is no axis.
    """
    source = Source(f"<{OPTION}>", text)
    key, sign, rest = text.partition("=")
    if not sign or not key.strip() or not rest.strip():
        raise _fault(source, 0, len(text), "this is no axis of a sweep: it lacks KEY or values")
    start = len(key) + 1
    match = RANGE.fullmatch(rest)
    if match:
        begin = start + match.start(2)
        return _range(source, key.strip(), match[1], match[2], begin)
    return SweepAxis(key.strip(), _values(source, start))


def axes_of(over: Sequence[str] | Mapping[str, object]) -> list[SweepAxis]:
    """Parse all axes of a sweep.

    Args:
        over: texts of `--over`, or names with lists of values or texts such as `log(1, 8, 4)`.

    Raises:
        OpError: OP0743, one is no axis, or two have one name.
    """
    if isinstance(over, Mapping):
        over = [f"{k}={_in_text(v)}" for k, v in over.items()]
    axes: list[SweepAxis] = []
    faults: list[Diagnostic] = []
    for text in over:
        try:
            axes.append(parse_axis(text))
        except OpError as error:
            faults += error.diagnostics
    if faults:
        raise OpError(*faults)
    if not axes:
        helps = ("name one: `--over model.width=16,32,64`",)
        raise fault("OP0743", "a sweep needs at least one axis", helps=helps)
    for key in {x.key for x in axes}:
        if sum(x.key == key for x in axes) > 1:
            helps = ("write all of its values into one `--over`",)
            raise fault("OP0743", f"`{key}` is the name of two axes", helps=helps)
    return axes


def _in_text(values: object) -> str:
    if isinstance(values, str):
        return values
    if isinstance(values, Sequence):
        return ",".join(map(_value_text, values))
    return _value_text(values)


def _value_text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "none"
        case list():
            return f"[{', '.join(map(_value_text, value))}]"
        case tuple():
            return f"({', '.join(map(_value_text, value))})"
    return str(value)


def _values(source: Source, start: int) -> tuple[str, ...]:
    values = []
    for begin, end in _pieces(source.text, start):
        value = source.text[begin:end].strip()
        if not value:
            raise _fault(source, begin, max(end, begin + 1), "a value is missing here")
        if value in values:
            raise _fault(source, begin, end, f"the value `{value}` is listed twice")
        values.append(value)
    return tuple(values)


def _pieces(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges between commas that are in no bracket and in no quotes."""
    depth, begin, quoted = 0, start, False
    for i in range(start, len(text)):
        sign = text[i]
        quoted ^= sign == '"'
        if quoted:
            continue
        depth += (sign in OPENING) - (sign in CLOSING)
        if sign == "," and depth == 0:
            yield begin, i
            begin = i + 1
    yield begin, len(text)


def _range(source: Source, key: str, scale: str, inner: str, begin: int) -> SweepAxis:
    end = begin + len(inner)
    parts = [x.strip() for x in inner.split(",")]
    example = f"write `{key}={scale}(1e-4, 1e-2, 8)`: both ends, and how many values"
    try:
        low, high = float(parts[0]), float(parts[1])
        count = int(parts[2]) if len(parts) == 3 else None
    except (ValueError, IndexError):
        message = f"`{scale}` takes two numbers and perhaps a count"
        raise _fault(source, begin, end, message, example) from None
    if len(parts) > 3 or not (math.isfinite(low) and math.isfinite(high)):
        raise _fault(source, begin, end, f"`{scale}` takes two numbers and a count", example)
    if not low < high:
        raise _fault(source, begin, end, "the first end has to be less than the second", example)
    if scale == "log" and low <= 0:
        raise _fault(source, begin, end, "`log` needs ends above zero", example)
    if count is not None and not 2 <= count <= MOST:
        raise _fault(source, begin, end, f"the count has to be between 2 and {MOST}", example)
    whole = all(re.fullmatch(r"[+-]?\d+", x) for x in parts[:2])
    axis = SweepAxis(key, (), low, high, scale, whole)
    if count is None:
        return axis
    values = dict.fromkeys(axis.at(i / (count - 1)) for i in range(count))
    return SweepAxis(key, tuple(values), low, high, scale, whole)


def _fault(source: Source, start: int, end: int, message: str, *helps: str) -> OpError:
    label = Label(source.span(start, end))
    return fault("OP0743", message, label, helps=helps or ("write `--over model.width=16,32,64`",))
