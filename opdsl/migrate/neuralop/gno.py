"""GNOBlock, and the kernel integrals within GINO and FNOGNO.

Source: neuralop/layers/gno_block.py, integral_transform.py, gno_weighting_functions.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from opdsl.migrate.neuralop.draft import (
    Draft,
    Options,
    Shapes,
    Take,
    bad_call,
    not_importable,
    word,
)
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
    """A GNOBlock.

    Attributes:
        axes: coordinates of a point.
        inward, out: channels.
        radius: how far neighbours are; None: they are those along the edges of a graph.
        kind: as theirs; `linear_kernelonly` where no function is given.
        widths: of the hidden layers of the kernel.
        embedding: of coordinates, with its frequencies and greatest position.
        mollifier: a function of the distance, and what it is multiplied by.
        reduction: mean or sum, as theirs.
        theirs: how the names of the weights of the kernel begin.
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
        """The lines.

        Args:
            lines: where they go.
            name: of the result.
            source: the function.
            to: the domain of the result.
            per: None: as theirs. Else a sum becomes an integral, times this, points per volume.
        """
        mean = self.reduction == "mean" and self.mollifier is None
        summed = "sum" if per is None else "integral"
        made = call(
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
            return lines.add(name, made, *self._takes())
        found = lines.add(f"{name}_sum", made, *self._takes())
        return lines.add(name, f"{' * '.join(factors)} * {found}")

    @property
    def _matrix(self) -> bool:
        """Whether one function is multiplied by each result of the kernel."""
        return "kernelonly" not in self.kind and self.inward != self.out

    @property
    def seen(self) -> int:
        """Channels of the function that the kernel sees."""
        return self.inward if self.kind.startswith("nonlinear") else 0

    def _takes(self) -> Iterator[Take]:
        # there the points of the function come first, here those of the result
        yield weight(f"{self.theirs}fcs.0.weight", f"swapped_{self.seen}", "first.weight")
        yield weight(f"{self.theirs}fcs.0.bias", ours="first.bias")
        for i in range(1, len(self.widths) + 1):
            yield weight(f"{self.theirs}fcs.{i}.weight", ours=f"rest.{2 * i}.weight")
            yield weight(f"{self.theirs}fcs.{i}.bias", ours=f"rest.{2 * i}.bias")

    def notes(self, *, corrected: bool) -> Iterator[str]:
        """What is wrong there, and what was done about it."""
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
    """A checked integral; where there are weights, they say how wide the kernel is.

    Raises:
        OpError: OP0641, an option that has no counterpart; OP0642.
    """
    if kind not in KINDS:
        raise bad_call(name, f"`{kind}` is no kind of transform", f"known: {', '.join(KINDS)}")
    if embedding not in (None, *EMBEDDINGS):
        embedding = None  # it takes no other word for one
    if mollifier is not None and mollifier not in MOLLIFIERS:
        known = f"known: {', '.join(MOLLIFIERS)}"
        raise not_importable(name, f"the weighting function `{mollifier}`", known)
    if str(word(act)) not in ACTIVATIONS:
        raise not_importable(name, f"the activation `{word(act)}` in its kernel")
    if kind in ("linear", "nonlinear") and inward not in (1, out):
        raise bad_call(
            name,
            f"a kernel of {out} channels cannot be multiplied by a function of {inward}",
            f"take as many, or `{kind}_kernelonly`",
        )
    found = Integral(
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
    sized = replace(found, widths=_widths(found, hidden, shapes))
    if not sized.widths:
        raise not_importable(name, "a kernel of one layer")
    return sized


def _widths(x: Integral, hidden: Numbers, shapes: Shapes) -> Numbers:
    """Of the hidden layers: those of weights, else as its constructor finds them."""
    keys = (f"{x.theirs}fcs.{i}.weight" for i in count())
    rows: list[int] = []
    for key in keys:
        if key not in shapes:
            break
        rows.append(shapes[key][0])
    if rows:
        return tuple(rows[:-1])
    each = 2 * x.frequencies * x.axes if x.embedding else x.axes
    # a first or last width that is the right one already is taken for that of an end
    inner = hidden[1:] if hidden[:1] == (2 * each + x.seen,) else hidden
    return inner[:-1] if inner[-1:] == (x.out,) else inner


def points(name: str, axes: int) -> str:
    """The declaration of points of a sample."""
    return f"domain {name} = points({axes}, geometry = per_sample)"


def box(name: str, axes: int, size: str) -> str:
    """The declaration of a grid with both of its ends."""
    sides = ", ".join(f"{x}: 0..1" for x in AXES[:axes])
    return f"domain {name} = grid({sides}, {size})"


# --- the block as a model ---------------------------------------------------------------------


class GNOBlockOptions(Options):
    """The constructor of `GNOBlock`."""

    in_channels: int
    out_channels: int
    coord_dim: int
    radius: float
    transform_type: str = "linear"
    weighting_fn: Any = None
    reduction: str = "sum"
    pos_embedding_type: str | None = "transformer"
    pos_embedding_channels: int = 32
    pos_embedding_max_positions: float = 10000
    channel_mlp_layers: Numbers = (128, 256, 128)
    channel_mlp_non_linearity: Any = "gelu"
    channel_mlp: Any = None
    use_torch_scatter_reduce: bool = True
    use_open3d_neighbor_search: bool = True


def gno_block(name: str, o: GNOBlockOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """The program of a GNOBlock: from points to points.

    Raises:
        OpError: OP0641, OP0642.
    """
    if o.channel_mlp is not None:
        raise not_importable(name, "a `channel_mlp` of one's own", "name `channel_mlp_layers`")
    mollifier, scale = weighting(name, o.weighting_fn, o.radius)
    given = o.transform_type != "linear_kernelonly"
    made = integral(
        name,
        shapes,
        axes=o.coord_dim,
        inward=o.in_channels,
        out=o.out_channels,
        radius=o.radius,
        kind=o.transform_type,
        hidden=o.channel_mlp_layers,
        act=o.channel_mlp_non_linearity,
        reduction=o.reduction,
        theirs="integral_transform.channel_mlp.",
        embedding=o.pos_embedding_type,
        frequencies=o.pos_embedding_channels,
        max_positions=o.pos_embedding_max_positions,
        mollifier=mollifier,
        scale=scale,
    )
    lines = Lines()
    # points per volume are not known: the corrected one is the integral itself
    made.write(lines, "y", "x" if given else "coords(P)", "Q", per="" if corrected else None)
    ports = [
        points("P", o.coord_dim),
        points("Q", o.coord_dim),
        *([f"input x : P -> R^{o.in_channels}"] if given else []),
        f"output y : Q -> R^{o.out_channels}",
    ]
    body = "\n".join(f"  {x}" for x in ports)
    text = f"model {name} {{\n{body}\n\n{lines.text('y')}\n}}"
    told = (*made.notes(corrected=corrected), *without_function(given=given), EMPTY)
    return Draft(text, tuple(lines.taken("y", "", "")), told)


def without_function(*, given: bool) -> Iterator[str]:
    """What a kernel alone is there."""
    if not given:
        yield (
            "`linear_kernelonly` is a kernel alone only if it is called without a function there; "
            "if it is called with one, import it as `linear`, with the same weights"
        )


def weighting(name: str, fn: Any, radius: float) -> tuple[str | None, float]:
    """The mollifier and its factor, from what `dispatch_weighting_fn` made.

    Raises:
        OpError: OP0641.
    """
    if fn is None:
        return None, 1.0
    made = getattr(fn, "keywords", {})
    found = str(word(getattr(fn, "func", fn))).removesuffix("_cutoff")
    if found not in MOLLIFIERS or abs(made.get("radius", 1.0) - radius**2) > 1e-9 * radius**2:
        raise not_importable(
            name, f"`weighting_fn = {word(fn)}`", "known: those of `dispatch_weighting_fn`"
        )
    return found, float(made.get("scale", 1.0))


def gno_block_arguments(module: Any) -> dict[str, Any]:
    """The constructor's arguments of a GNOBlock, which keeps only some of them."""
    transform, embedding = module.integral_transform, module.pos_embedding
    widths = [x.out_features for x in transform.channel_mlp.fcs]
    found = {x: getattr(module, x) for x in ("in_channels", "out_channels", "coord_dim", "radius")}
    if embedding is not None:
        found["pos_embedding_channels"] = embedding.num_frequencies
        found["pos_embedding_max_positions"] = embedding.max_positions
    return found | {
        "pos_embedding_type": None if embedding is None else embedding.embedding_type,
        "transform_type": transform.transform_type,
        "weighting_fn": transform.weighting_fn,
        "reduction": transform.reduction,
        "channel_mlp_layers": widths[:-1],
        "channel_mlp_non_linearity": transform.channel_mlp.non_linearity,
    }


# --- the integral itself, whose neighbours are given --------------------------------------------


class IntegralTransformOptions(Options):
    """The constructor of `IntegralTransform`, and last the coordinates of its points."""

    channel_mlp: Any = None
    channel_mlp_layers: Numbers | None = None
    channel_mlp_non_linearity: Any = "gelu"
    transform_type: str = "linear"
    weighting_fn: Any = None
    reduction: str = "sum"
    use_torch_scatter: bool = True
    coord_dim: int | None = None


def integral_transform(
    name: str, o: IntegralTransformOptions, shapes: Shapes, *, corrected: bool
) -> Draft:
    """The program of an IntegralTransform: on a graph, along its edges.

    Raises:
        OpError: OP0641, OP0642.
    """
    if o.channel_mlp is not None or o.channel_mlp_layers is None:
        raise not_importable(name, "a `channel_mlp` of one's own", "name `channel_mlp_layers`")
    if o.weighting_fn is not None:
        raise not_importable(name, "`weighting_fn`, which needs a radius", "import its GNOBlock")
    first, *hidden, out = o.channel_mlp_layers
    axes, channels = _sides(name, o, first, out)
    given = o.transform_type != "linear_kernelonly"
    made = integral(
        name,
        shapes,
        axes=axes,
        inward=channels,
        out=out,
        radius=None,
        kind=o.transform_type,
        hidden=(*hidden, out),
        act=o.channel_mlp_non_linearity,
        reduction=o.reduction,
        theirs="channel_mlp.",
        embedding=None,
        frequencies=0,
        max_positions=0,
    )
    lines = Lines()
    made.write(lines, "y", "x" if given else "coords(P)", "P")
    ports = [
        f"domain P = graph({axes}, geometry = per_sample)",
        *([f"input x : P -> R^{channels}"] if given else []),
        f"output y : P -> R^{out}",
    ]
    body = "\n".join(f"  {x}" for x in ports)
    text = f"model {name} {{\n{body}\n\n{lines.text('y')}\n}}"
    told = (*made.notes(corrected=False), *without_function(given=given), GRAPH)
    if corrected:
        told = (*told, "sums along edges stay sums: a graph has no measure")
    return Draft(text, tuple(lines.taken("y", "", "")), told)


def _sides(name: str, o: IntegralTransformOptions, first: int, out: int) -> tuple[int, int]:
    """The coordinates of a point and the channels of the function.

    Raises:
        OpError: OP0641, nothing says how many of each; OP0642, they do not add up.
    """
    sees = o.transform_type.startswith("nonlinear")
    if o.transform_type == "nonlinear_kernelonly" and o.coord_dim is None:
        what = "a nonlinear kernel alone, whose channels nothing tells"
        raise not_importable(name, what, "name `coord_dim`, the coordinates of a point")
    axes = o.coord_dim or (first - (out if sees else 0)) // 2
    channels = first - 2 * axes if sees else out
    if axes < 1 or channels < 1 or 2 * axes + (channels if sees else 0) != first:
        raise bad_call(name, f"a kernel of {first} numbers has no place for two points")
    return axes, channels


def integral_transform_arguments(module: Any) -> dict[str, Any]:
    """The constructor's arguments of an IntegralTransform."""
    rows = module.channel_mlp.fcs
    return {
        "channel_mlp_layers": (rows[0].in_features, *(x.out_features for x in rows)),
        "channel_mlp_non_linearity": module.channel_mlp.non_linearity,
        "transform_type": module.transform_type,
        "weighting_fn": module.weighting_fn,
        "reduction": module.reduction,
    }
