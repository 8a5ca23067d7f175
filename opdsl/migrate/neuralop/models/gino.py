"""GINO: a kernel integral from points to a latent grid, an FNO there, and one back to points.

The latent grid is no argument of the constructor, so its size is a parameter of the program.

Source: neuralop/models/gino.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from opdsl.migrate.neuralop.draft import (
    ConstructorOptions,
    Draft,
    Shapes,
    WeightSource,
    each,
    not_importable,
    word,
)
from opdsl.migrate.neuralop.layer import ADAPTIVE
from opdsl.migrate.neuralop.models.fno import Stack, stack_of
from opdsl.migrate.neuralop.models.fno_options import FNOOptions, activation
from opdsl.migrate.neuralop.models.gno import EMPTY, Integral, Numbers, box, integral, points
from opdsl.migrate.neuralop.writing import Lines, call, mlp, weight

CONDITION = "ada_in"
KERNEL_ONLY = (
    "kept: neuraloperator multiplies by the function even where `linear_kernelonly` says that it "
    "does not, so this is `linear`"
)


class GINOOptions(ConstructorOptions):
    """Arguments of `GINO`, and last the size of the latent grid of its calls."""

    in_channels: int
    out_channels: int
    latent_feature_channels: int | None = None
    projection_channel_ratio: int = 4
    gno_coord_dim: int = 3
    in_gno_radius: float = 0.033
    out_gno_radius: float = 0.033
    in_gno_transform_type: str = "linear"
    out_gno_transform_type: str = "linear"
    gno_weighting_function: str | None = None
    gno_weight_function_scale: float = 1
    in_gno_pos_embed_type: str | None = "transformer"
    out_gno_pos_embed_type: str | None = "transformer"
    fno_in_channels: int = 3
    fno_n_modes: Numbers = (16, 16, 16)
    fno_hidden_channels: int = 64
    fno_lifting_channel_ratio: int = 2
    fno_n_layers: int = 4
    gno_embed_channels: int = 32
    gno_embed_max_positions: float = 10000
    in_gno_channel_mlp_hidden_layers: Numbers = (80, 80, 80)
    out_gno_channel_mlp_hidden_layers: Numbers = (512, 256)
    gno_channel_mlp_non_linearity: Any = "gelu"
    gno_use_open3d: bool = True
    gno_use_torch_scatter: bool = True
    out_gno_tanh: str | None = None
    fno_resolution_scaling_factor: Any = None
    fno_block_precision: str = "full"
    fno_use_channel_mlp: bool = True
    fno_channel_mlp_dropout: float = 0
    fno_channel_mlp_expansion: float = 0.5
    fno_non_linearity: Any = "gelu"
    fno_stabilizer: str | None = None
    fno_norm: str | None = None
    fno_norm_groups: int = 1
    fno_ada_in_features: int | None = 4
    fno_ada_in_dim: int = 1
    fno_preactivation: bool = False
    fno_skip: str | None = "linear"
    fno_channel_mlp_skip: str | None = "soft-gating"
    fno_separable: bool = False
    fno_factorization: str | None = None
    fno_rank: float | int | Numbers = 1.0
    fno_fixed_rank_modes: Any = False
    fno_implementation: str = "factorized"
    fno_decomposition_kwargs: dict[str, Any] | None = None
    fno_conv_module: Any = None
    fno_enforce_hermitian_symmetry: bool = True
    latent: int | None = None

    @property
    def given(self) -> bool:
        """Whether it is called with a function on the points; a guess, as no argument says so."""
        fits = self.in_channels in (1, self.fno_in_channels)
        return self.in_gno_transform_type != "linear_kernelonly" and (fits or self.nonlinear)

    @property
    def axes(self) -> int:
        """Number of axes of the latent grid."""
        return len(self.fno_n_modes)

    @property
    def waves(self) -> str | None:
        """Kind of embedding of the vector of adaptive norms; None if it is used as it is."""
        return self.out_gno_pos_embed_type if self.fno_ada_in_features else None

    @property
    def nonlinear(self) -> bool:
        """Whether the kernel of the first integral depends on the function."""
        return self.in_gno_transform_type.startswith("nonlinear")


def gino(name: str, o: GINOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """Write the program of a GINO.

    Raises:
        OpError: OP0641, an option that has no counterpart; OP0642, a wrong argument.
    """
    first = _encoder(name, o, shapes)
    last = decoder(
        name,
        o,
        shapes,
        "gno_out.",
        radius=o.out_gno_radius,
        kind=o.out_gno_transform_type,
        hidden=o.out_gno_channel_mlp_hidden_layers,
        embedding=o.out_gno_pos_embed_type,
    )
    features = o.latent_feature_channels or 0
    stack = latent(name, o, shapes, first.out + features, corrected=corrected)
    lines = Lines()
    x = first.write(lines, "gathered", "x" if o.given else "coords(P)", "L")
    x = lines.add("joined", call("concat", x, "latent_features")) if features else x
    lifting = o.fno_lifting_channel_ratio * o.fno_hidden_channels
    x = mlp(lines, "lift", x, (lifting, o.fno_hidden_channels), "gelu", "lifting.")
    x, takes = layered(lines, o, stack, x)
    if o.out_gno_tanh in ("latent_embed", "both"):
        x = lines.add("bent", call("apply", x, "tanh"))
    back(lines, name, o, last, x, corrected=corrected)
    ports = [
        *([] if features and not corrected else [parameter(o)]),
        points("P", o.axes),
        box(
            "L",
            o.axes,
            f"min = {stack.levels.least(stack.layers)}" if features else "size = latent",
        ),
        points("Q", o.axes),
        *([f"input x : P -> R^{o.in_channels}"] if o.given else []),
        *([f"input latent_features : L -> R^{features}"] if features else []),
        *vector(o),
        f"output y : Q -> R^{o.out_channels}",
    ]
    messages = (
        *_calls(o),
        *notes(o, last, o.out_gno_transform_type, corrected=corrected),
        "`output_queries` as a dict are several calls, one for each",
    )
    return written(name, stack, lines, takes, ports, messages)


def _encoder(name: str, o: GINOOptions, shapes: Shapes) -> Integral:
    """Return the kernel integral from the points to the latent grid."""
    return integral(
        name,
        shapes,
        axes=o.axes,
        inward=o.in_channels,
        out=o.in_channels if o.nonlinear else o.fno_in_channels,
        radius=o.in_gno_radius,
        kind=o.in_gno_transform_type if o.given else "linear_kernelonly",
        hidden=o.in_gno_channel_mlp_hidden_layers,
        act=o.gno_channel_mlp_non_linearity,
        reduction="mean",
        theirs="gno_in.integral_transform.channel_mlp.",
        embedding=o.in_gno_pos_embed_type,
        frequencies=o.gno_embed_channels,
        max_positions=o.gno_embed_max_positions,
    )


def _calls(o: GINOOptions) -> Iterator[str]:
    """Yield notes on assumptions about its calls, which its arguments do not determine."""
    if not o.given:
        yield (
            "its kernel alone is integrated, without a function `x` on the points; where it is "
            "called with one, import it with `in_gno_transform_type = 'linear'`"
        )
    elif not o.nonlinear:
        yield (
            "where it is called without `x`, import it with "
            "`in_gno_transform_type = 'linear_kernelonly'`, which has the same weights"
        )
    if not o.latent_feature_channels:
        yield (
            "the latent grid is no argument there: `--set model.latent=N` is that of its calls, "
            "both ends of 0..1 included"
        )


# --- shared with FNOGNO -----------------------------------------------------------------------


def latent(name: str, o: Any, shapes: Shapes, inward: int, *, corrected: bool) -> Stack:
    """Build the FNO on the latent grid.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    refuse(name, o)
    adaptive = o.fno_norm == ADAPTIVE
    arguments = {
        x: getattr(o, f"fno_{x}")
        for x in (
            "n_modes", "hidden_channels", "n_layers", "resolution_scaling_factor",
            "block_precision", "use_channel_mlp", "channel_mlp_dropout", "channel_mlp_expansion",
            "non_linearity", "stabilizer", "norm_groups", "preactivation", "skip",
            "channel_mlp_skip", "separable", "factorization", "rank",
        )
    }  # fmt: skip
    arguments["fno_skip"] = arguments.pop("skip")
    arguments["fno_block_precision"] = arguments.pop("block_precision")
    options = FNOOptions(
        in_channels=inward,
        out_channels=o.fno_hidden_channels,
        positional_embedding=None,
        norm=None if adaptive else o.fno_norm,
        **arguments,
    )
    stack = stack_of(name, options, shapes, corrected=corrected)
    if not adaptive:
        return stack
    waves = o.waves is not None
    numbers = o.fno_ada_in_dim * (2 * o.fno_ada_in_features if waves else 1)
    rows = [replace(x, norm=ADAPTIVE, condition=numbers, waves=waves) for x in stack.layers]
    return replace(stack, layers=tuple(rows), conditions=("waves" if waves else CONDITION,))


def refuse(name: str, o: Any) -> None:
    """Refuse options that have no counterpart.

    Raises:
        OpError: OP0641.
    """
    if o.axes != o.gno_coord_dim:
        raise not_importable(
            name, f"a latent grid of {o.axes} axes among points of {o.gno_coord_dim} coordinates"
        )
    if word(o.fno_conv_module) not in (None, "SpectralConv"):
        raise not_importable(name, f"`fno_conv_module = {word(o.fno_conv_module)}`")
    factors = o.fno_resolution_scaling_factor
    if factors is not None and any(x != 1 for x in each(factors, o.fno_n_layers)):
        raise not_importable(
            name, "a change of resolution, whose points neuraloperator does not know any more"
        )


def decoder(
    name: str,
    o: Any,
    shapes: Shapes,
    theirs: str,
    *,
    radius: float,
    kind: str,
    hidden: Numbers,
    embedding: str | None,
) -> Integral:
    """Return the kernel integral from the latent grid to the points of the result."""
    return integral(
        name,
        shapes,
        axes=o.axes,
        inward=o.fno_hidden_channels,
        out=o.fno_hidden_channels,
        radius=radius,
        kind="linear" if kind == "linear_kernelonly" else kind,  # see `KERNEL_ONLY`
        hidden=hidden,
        act=o.gno_channel_mlp_non_linearity,
        reduction="sum",
        theirs=f"{theirs}integral_transform.channel_mlp.",
        embedding=embedding,
        frequencies=o.gno_embed_channels,
        max_positions=o.gno_embed_max_positions,
        mollifier=o.gno_weighting_function,
        scale=o.gno_weight_function_scale,
    )


def layered(lines: Lines, o: Any, stack: Stack, x: str) -> tuple[str, list[WeightSource]]:
    """Add the layers on the latent grid, after the embedding of the vector of their norms."""
    if o.fno_norm == ADAPTIVE and o.waves:
        count = o.fno_ada_in_features * o.fno_ada_in_dim
        take = weight(
            "fno_blocks.norm.0.mlp.0.weight", f"waves_{o.waves}_{o.fno_ada_in_dim}", "waves"
        )
        lines.add("waves", call("fourier_features", CONDITION, count=count), take)
    return stack.stacked(lines, x, stack.names())


def back(lines: Lines, name: str, o: Any, last: Integral, x: str, *, corrected: bool) -> None:
    """Add the kernel integral to the points of the result, and the projection."""
    per = " * ".join(["(latent - 1)"] * o.axes)
    x = last.write(lines, "spread", x, "Q", per=per if corrected else None)
    widths = (o.projection_channel_ratio * o.fno_hidden_channels, o.out_channels)
    mlp(lines, "project", x, widths, activation(name, o.fno_non_linearity), "projection.")


def parameter(o: Any) -> str:
    """Declare the size of the latent grid, by default twice the largest number of modes."""
    return f"param latent : int = {o.latent or 2 * max(o.fno_n_modes)}  # points on each axis of L"


def vector(o: Any) -> list[str]:
    """Declare the vector input of adaptive norms, if there are any."""
    return [f"input {CONDITION} : R^{o.fno_ada_in_dim}"] if o.fno_norm == ADAPTIVE else []


def notes(o: Any, last: Integral, kind: str, *, corrected: bool) -> Iterator[str]:
    """Yield notes on faults of neuraloperator and whether they are kept or corrected."""
    yield EMPTY
    yield from last.notes(corrected=corrected)
    if kind == "linear_kernelonly":
        yield KERNEL_ONLY
    yield "the latent grid has two ends on each axis, and its Fourier layers take it for a ring"
    if o.fno_block_precision != "full":
        yield f"`fno_block_precision = {o.fno_block_precision}` is a setting of a run: `precision`"
    if not o.fno_use_channel_mlp:
        yield "without `use_channel_mlp` activations and norms stand twice in a row there: kept"


def written(
    name: str,
    stack: Stack,
    lines: Lines,
    takes: list[WeightSource],
    ports: list[str],
    remarks: tuple[str, ...],
) -> Draft:
    """Assemble the program from its parts."""
    blocks = [x.definition(y) for x, y in stack.names().items()]
    body = "\n".join(f"  {x}" for x in ports)
    model = f"model {name} {{\n{body}\n\n{lines.text('y')}\n}}"
    return Draft("\n\n".join([*blocks, model]), (*lines.taken("y", "", ""), *takes), remarks)
