"""IntegralTransform as a program of its own: a kernel integral along the edges of a graph."""

from __future__ import annotations

from typing import Any

from opdsl.migrate.neuralop.draft import (
    ConstructorOptions,
    Draft,
    Shapes,
    bad_call,
    not_importable,
)
from opdsl.migrate.neuralop.models.gno import GRAPH, Numbers, integral
from opdsl.migrate.neuralop.models.gno_block import without_function
from opdsl.migrate.neuralop.writing import Lines


class IntegralTransformOptions(ConstructorOptions):
    """Arguments of `IntegralTransform`, and last the number of coordinates of its points."""

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
    """Write the program of an IntegralTransform, along the edges of a graph.

    Raises:
        OpError: OP0641, an option that has no counterpart; OP0642, a wrong argument.
    """
    if o.channel_mlp is not None or o.channel_mlp_layers is None:
        raise not_importable(name, "a `channel_mlp` of one's own", "name `channel_mlp_layers`")
    if o.weighting_fn is not None:
        raise not_importable(name, "`weighting_fn`, which needs a radius", "import its GNOBlock")
    first, *hidden, out = o.channel_mlp_layers
    axes, channels = _sides(name, o, first, out)
    has_function = o.transform_type != "linear_kernelonly"
    kernel = integral(
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
    kernel.write(lines, "y", "x" if has_function else "coords(P)", "P")
    ports = [
        f"domain P = graph({axes}, geometry = per_sample)",
        *([f"input x : P -> R^{channels}"] if has_function else []),
        f"output y : P -> R^{out}",
    ]
    body = "\n".join(f"  {x}" for x in ports)
    text = f"model {name} {{\n{body}\n\n{lines.text('y')}\n}}"
    messages = (*kernel.notes(corrected=False), *without_function(given=has_function), GRAPH)
    if corrected:
        messages = (*messages, "sums along edges stay sums: a graph has no measure")
    return Draft(text, tuple(lines.taken("y", "", "")), messages)


def _sides(name: str, o: IntegralTransformOptions, first: int, out: int) -> tuple[int, int]:
    """Derive the number of coordinates of a point and of channels from the kernel's input width.

    Raises:
        OpError: OP0641, the numbers are undetermined; OP0642, they do not add up.
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
    """Recover the constructor's arguments of an IntegralTransform."""
    rows = module.channel_mlp.fcs
    return {
        "channel_mlp_layers": (rows[0].in_features, *(x.out_features for x in rows)),
        "channel_mlp_non_linearity": module.channel_mlp.non_linearity,
        "transform_type": module.transform_type,
        "weighting_fn": module.weighting_fn,
        "reduction": module.reduction,
    }
