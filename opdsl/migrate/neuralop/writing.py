"""Write the lines of a program, with the sources of the weights of their nodes.

`syntax.printer` lays out the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from opdsl.migrate.neuralop.draft import WeightSource

AXES = ("x", "y", "z", "t")
# names of activations in torch -> ours
ACTIVATIONS = {
    "gelu": "gelu",
    "relu": "relu",
    "tanh": "tanh",
    "silu": "silu",
    "SiLU": "silu",
    "GELU": "gelu",
    "ReLU": "relu",
    "Tanh": "tanh",
    "sigmoid": "sigmoid",
    "Sigmoid": "sigmoid",
    "elu": "elu",
    "ELU": "elu",
    "selu": "selu",
    "SELU": "selu",
    "softplus": "softplus",
    "Softplus": "softplus",
    "leaky_relu": "leaky_relu",
    "LeakyReLU": "leaky_relu",
    "mish": "mish",
    "Mish": "mish",
    "sin": "sin",
    "Identity": "identity",
}


def value(x: object) -> str:
    """Format a value: `true`, `0.5`, `(8, 6)`; a string, a word or an expression, is kept."""
    if isinstance(x, bool):
        return str(x).lower()
    if isinstance(x, tuple | list):
        if len(x) == 1:
            return value(x[0])
        return f"({', '.join(value(y) for y in x)})"
    return repr(x) if isinstance(x, float) else str(x)


def call(keyword: str, *inputs: str, **settings: object) -> str:
    """Write `keyword(inputs, name = value)`; settings that are None are left out."""
    pairs = [f"{k} = {value(x)}" for k, x in settings.items() if x is not None]
    return f"{keyword}({', '.join([*inputs, *pairs])})"


@dataclass
class Lines:
    """The bindings of a block in order, each of a new name, and the sources of their weights.

    Attributes:
        bound: (name, expression) of each binding.
        takes: sources of the weights, with paths within this block.
    """

    bound: list[tuple[str, str]] = field(default_factory=list)
    takes: list[WeightSource] = field(default_factory=list)

    def add(self, name: str, expression: str, *takes: WeightSource) -> str:
        """Bind an expression to a name, with the sources of its weights; return the name."""
        self.bound.append((name, expression))
        self.takes += [WeightSource(f"{name}.{x.ours}", x.theirs, x.change) for x in takes]
        return name

    def text(self, last: str) -> str:
        """Write the bindings; the last one is renamed to `last`."""
        *others, (_, expression) = self.bound
        return "\n".join(f"  {name} = {x}" for name, x in [*others, (last, expression)])

    def taken(self, last: str, path: str, theirs: str) -> Iterator[WeightSource]:
        """Yield the sources of all weights of a block at `path` here and at `theirs` there."""
        final = self.bound[-1][0]
        for x in self.takes:
            name, _, key = x.ours.partition(".")
            ours = last if name == final else name
            yield WeightSource(f"{path}{ours}.{key}", tuple(theirs + y for y in x.theirs), x.change)


def weight(key: str, change: str = "same", ours: str = "weight") -> WeightSource:
    """Make the source of one weight from one of theirs."""
    return WeightSource(ours, (key,), change)


def linear(prefix: str) -> tuple[WeightSource, WeightSource]:
    """Make the sources of the weights of `linear` from a convolution over one point."""
    return weight(prefix + "weight", "matrix"), weight(prefix + "bias", ours="bias")


def several(copies: int) -> int | None:
    """The setting `copies` of a layer: None if it is 1."""
    return copies if copies > 1 else None


def shared(copies: int, *takes: WeightSource) -> tuple[WeightSource, ...]:
    """Adapt sources to a layer of `copies` copies, which stores its weights one level deeper."""
    if copies == 1:
        return takes
    return tuple(WeightSource(f"each.{x.ours}", x.theirs, x.change) for x in takes)


def mlp(
    lines: Lines, name: str, source: str, sizes: Sequence[int], act: str, theirs: str,
    *,
    dropout: float = 0, copies: int = 1,
) -> str:  # fmt: skip
    """Add a pointwise MLP: linear layers with activations in between and dropout after each."""
    for i, out in enumerate(sizes):
        last = i == len(sizes) - 1
        source = lines.add(
            f"{name}_{i + 1}",
            call("linear", source, out=out, copies=several(copies)),
            *shared(copies, *linear(f"{theirs}fcs.{i}.")),
        )
        if not last:
            source = lines.add(f"{name}_{i + 1}_act", call("apply", source, act))
        if dropout:
            source = lines.add(f"{name}_{i + 1}_out", call("dropout", source, p=float(dropout)))
    return source


def both_parts(lines: Lines, name: str, real: str, imag: str, out: int) -> str:
    """Combine two layers of real functions to one of complex functions, real parts first.

    In neuraloperator f(a + i b) = f_r(a) - f_i(b) + i (f_r(b) + f_i(a)). Here `real` is f_r of a
    and of b, concatenated, and `imag` is f_i of both; `out` is the number of channels of each.
    """
    first, second = f"[0..{out}]", f"[{out}..{2 * out}]"
    parts = f"{real}{first} - {imag}{second}", f"{real}{second} + {imag}{first}"
    return lines.add(name, call("concat", *parts))


def block(name: str, doc: str, ports: Iterable[str], body: str) -> str:
    """Write the definition of a block."""
    return "\n".join([f'block {name} "{doc}" {{', *(f"  {x}" for x in ports), "", body, "}"])
