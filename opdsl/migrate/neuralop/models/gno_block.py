"""GNOBlock as a program of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opdsl.migrate.neuralop.draft import (
    ConstructorOptions,
    Draft,
    Shapes,
    not_importable,
    word,
)
from opdsl.migrate.neuralop.models.gno import EMPTY, MOLLIFIERS, Numbers, integral, points
from opdsl.migrate.neuralop.writing import Lines


class GNOBlockOptions(ConstructorOptions):
    """Arguments of the constructor of `GNOBlock`."""

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
    """Write the program of a GNOBlock, from points to points.

    Raises:
        OpError: OP0641, an option that has no counterpart; OP0642, a wrong argument.
    """
    if o.channel_mlp is not None:
        raise not_importable(name, "a `channel_mlp` of one's own", "name `channel_mlp_layers`")
    mollifier, scale = weighting(name, o.weighting_fn, o.radius)
    has_function = o.transform_type != "linear_kernelonly"
    kernel = integral(
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
    # the density of points is unknown, so the corrected one is the integral without a factor
    kernel.write(
        lines, "y", "x" if has_function else "coords(P)", "Q", per="" if corrected else None
    )
    ports = [
        points("P", o.coord_dim),
        points("Q", o.coord_dim),
        *([f"input x : P -> R^{o.in_channels}"] if has_function else []),
        f"output y : Q -> R^{o.out_channels}",
    ]
    body = "\n".join(f"  {x}" for x in ports)
    text = f"model {name} {{\n{body}\n\n{lines.text('y')}\n}}"
    messages = (*kernel.notes(corrected=corrected), *without_function(given=has_function), EMPTY)
    return Draft(text, tuple(lines.taken("y", "", "")), messages)


def without_function(*, given: bool) -> Iterator[str]:
    """Yield the note on a kernel that is integrated without a function, if it applies."""
    if not given:
        yield (
            "`linear_kernelonly` is a kernel alone only if it is called without a function there; "
            "if it is called with one, import it as `linear`, with the same weights"
        )


def weighting(name: str, fn: Any, radius: float) -> tuple[str | None, float]:
    """Return the mollifier and its factor from a result of `dispatch_weighting_fn`.

    Raises:
        OpError: OP0641, the function is none of these, or has another radius.
    """
    if fn is None:
        return None, 1.0
    keywords = getattr(fn, "keywords", {})
    kind = str(word(getattr(fn, "func", fn))).removesuffix("_cutoff")
    if kind not in MOLLIFIERS or abs(keywords.get("radius", 1.0) - radius**2) > 1e-9 * radius**2:
        raise not_importable(
            name, f"`weighting_fn = {word(fn)}`", "known: those of `dispatch_weighting_fn`"
        )
    return kind, float(keywords.get("scale", 1.0))


def gno_block_arguments(module: Any) -> dict[str, Any]:
    """Recover the constructor's arguments of a GNOBlock, which stores only some of them."""
    transform, embedding = module.integral_transform, module.pos_embedding
    widths = [x.out_features for x in transform.channel_mlp.fcs]
    arguments = {
        x: getattr(module, x) for x in ("in_channels", "out_channels", "coord_dim", "radius")
    }
    if embedding is not None:
        arguments["pos_embedding_channels"] = embedding.num_frequencies
        arguments["pos_embedding_max_positions"] = embedding.max_positions
    return arguments | {
        "pos_embedding_type": None if embedding is None else embedding.embedding_type,
        "transform_type": transform.transform_type,
        "weighting_fn": transform.weighting_fn,
        "reduction": transform.reduction,
        "channel_mlp_layers": widths[:-1],
        "channel_mlp_non_linearity": transform.channel_mlp.non_linearity,
    }
