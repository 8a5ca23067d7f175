"""The kernel integrals of GNOBlock, IntegralTransform, GINO and FNOGNO.

Source: neuralop/layers/gno_block.py, integral_transform.py, gno_weighting_functions.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from opdsl.migrate.neuralop.draft import Shapes, WeightSource, bad_call, not_importable, word
from opdsl.migrate.neuralop.writing import ACTIVATIONS, AXES, Lines, call, weight

Numbers = tuple[int, ...]
KINDS = ("linear", "linear_kernelonly", "nonlinear", "nonlinear_kernelonly")
EMBEDDINGS = ("transformer", "nerf")
MOLLIFIERS = {
    "bump": "bump",
    "half_cos": "half_cosine",
    "octic": "octic",
    "quadr": "quadratic",
    "quartic": "quartic",
}
KEPT_SUM = (
    "kept: the integral is a sum there, which grows as points get denser: `--corrected` has an "
    "integral"
)
CORRECTED_SUM = (
    "corrected: an integral instead of a sum; weights that were trained under the sum want "
    "training again"
)
GRAPH = (
    "neighbours come with each call there; here they are the edges of a graph, of which those to a "
    "point are the neighbours of that point"
)
EMPTY = "a point without neighbours is 0, as there, and nobody is told (`empty = zero`)"


@dataclass(frozen=True, slots=True)
class Integral:
    """A kernel integral over neighbours, as in GNOBlock.

    Attributes:
        axes: number of coordinates of a point.
        inward, out: channels of the function and of the result.
        radius: distance within which points are neighbours; None: neighbours share an edge.
        kind: neuraloperator's kind of transform; `linear_kernelonly` where there is no function.
        widths: widths of the hidden layers of the kernel.
        embedding: kind of embedding of coordinates, with `frequencies` and `max_positions`.
        mollifier: a function of the distance that weights the kernel, with its factor `scale`.
        reduction: `mean` or `sum`, as in neuraloperator.
        theirs: prefix of the names of the weights of the kernel.
    """

    axes: int
    inward: int
    out: int
    radius: float | None
    kind: str
    widths: Numbers
    act: str
    reduction: str
    theirs: str
    embedding: str | None = None
    frequencies: int = 0
    max_positions: float = 10000
    mollifier: str | None = None
    scale: float = 1.0

    def write(
        self, lines: Lines, name: str, source: str, to: str, *, per: str | None = None
    ) -> str:
        """Add the lines of the integral; return the name of the result.

        Args:
            lines: the lines of the block.
            name: name of the result.
            source: name of the function.
            to: domain of the result.
            per: None keeps a sum. Else it becomes an integral, times this density of points.
        """
        mean = self.reduction == "mean" and self.mollifier is None
        summed = "sum" if per is None else "integral"
        expression = call(
            "gno",
            source,
            to=to,
            radius=self.radius and float(self.radius),
            along="edges" if self.radius is None else None,
            kernel=f"[{', '.join(map(str, self.widths))}]",
            act=None if self.act == "gelu" else self.act,
            kind=None if self.kind == "linear" else self.kind,
            matrix="full" if self._matrix else None,
            out=self.out if self._matrix or "kernelonly" in self.kind else None,
            embedding=self.embedding,
            frequencies=self.frequencies if self.embedding else None,
            max_positions=self.max_positions if self.embedding == "transformer" else None,
            mollifier=self.mollifier,
            reduction=None if mean else summed,
            empty=None if self.radius is None else "zero",
        )
        factors = [] if self.scale == 1.0 else [repr(float(self.scale))]
        factors += [per] if per and not mean else []
        if not factors:
            return lines.add(name, expression, *self._takes())
        total = lines.add(f"{name}_sum", expression, *self._takes())
        return lines.add(name, f"{' * '.join(factors)} * {total}")

    @property
    def _matrix(self) -> bool:
        """Whether a function of one channel is multiplied by each output of the kernel."""
        return "kernelonly" not in self.kind and self.inward != self.out

    @property
    def seen(self) -> int:
        """Number of channels of the function on which the kernel depends."""
        return self.inward if self.kind.startswith("nonlinear") else 0

    def _takes(self) -> Iterator[WeightSource]:
        # neuraloperator's kernels take the point of the function first, ours that of the result
        yield weight(f"{self.theirs}fcs.0.weight", f"swapped_{self.seen}", "first.weight")
        yield weight(f"{self.theirs}fcs.0.bias", ours="first.bias")
        for i in range(1, len(self.widths) + 1):
            yield weight(f"{self.theirs}fcs.{i}.weight", ours=f"rest.{2 * i}.weight")
            yield weight(f"{self.theirs}fcs.{i}.bias", ours=f"rest.{2 * i}.bias")

    def notes(self, *, corrected: bool) -> Iterator[str]:
        """Yield the note on sums that should be integrals, if it applies."""
        if self.reduction == "mean" and self.mollifier is None:
            return
        yield CORRECTED_SUM if corrected else KEPT_SUM


def integral(  # noqa: PLR0913  what a GNOBlock is made of
    name: str,
    shapes: Shapes,
    *,
    axes: int,
    inward: int,
    out: int,
    radius: float | None,
    kind: str,
    hidden: Numbers,
    act: Any,
    reduction: str,
    theirs: str,
    embedding: str | None,
    frequencies: int,
    max_positions: float,
    mollifier: str | None = None,
    scale: float = 1.0,
) -> Integral:
    """Check the options of an integral and build it; weights, if given, determine its widths.

    Raises:
        OpError: OP0641, an option that has no counterpart; OP0642, a wrong argument.
    """
    if kind not in KINDS:
        raise bad_call(name, f"`{kind}` is no kind of transform", f"known: {', '.join(KINDS)}")
    if embedding not in (None, *EMBEDDINGS):
        embedding = None  # neuraloperator ignores any other word
    if mollifier is not None and mollifier not in MOLLIFIERS:
        choices = f"known: {', '.join(MOLLIFIERS)}"
        raise not_importable(name, f"the weighting function `{mollifier}`", choices)
    if str(word(act)) not in ACTIVATIONS:
        raise not_importable(name, f"the activation `{word(act)}` in its kernel")
    if kind in ("linear", "nonlinear") and inward not in (1, out):
        raise bad_call(
            name,
            f"a kernel of {out} channels cannot be multiplied by a function of {inward}",
            f"take as many, or `{kind}_kernelonly`",
        )
    base = Integral(
        axes=axes,
        inward=inward,
        out=out,
        radius=radius,
        kind=kind,
        widths=(),
        act=ACTIVATIONS[str(word(act))],
        reduction=reduction,
        theirs=theirs,
        embedding=embedding,
        frequencies=frequencies,
        max_positions=max_positions,
        mollifier=MOLLIFIERS[mollifier] if mollifier else None,
        scale=scale if mollifier else 1.0,
    )
    sized = replace(base, widths=_widths(base, hidden, shapes))
    if not sized.widths:
        raise not_importable(name, "a kernel of one layer")
    return sized


def _widths(x: Integral, hidden: Numbers, shapes: Shapes) -> Numbers:
    """Widths of the hidden layers: those of weights, else those that the constructor derives."""
    keys = (f"{x.theirs}fcs.{i}.weight" for i in count())
    rows: list[int] = []
    for key in keys:
        if key not in shapes:
            break
        rows.append(shapes[key][0])
    if rows:
        return tuple(rows[:-1])
    per_point = 2 * x.frequencies * x.axes if x.embedding else x.axes
    # the constructor drops a first or last width that equals that of the input or output
    inner = hidden[1:] if hidden[:1] == (2 * per_point + x.seen,) else hidden
    return inner[:-1] if inner[-1:] == (x.out,) else inner


def points(name: str, axes: int) -> str:
    """Declare a domain of points of each sample."""
    return f"domain {name} = points({axes}, geometry = per_sample)"


def box(name: str, axes: int, size: str) -> str:
    """Declare a grid on the unit cube that includes both ends of each axis."""
    sides = ", ".join(f"{x}: 0..1" for x in AXES[:axes])
    return f"domain {name} = grid({sides}, {size})"
