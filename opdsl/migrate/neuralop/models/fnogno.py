"""FNOGNO: an FNO on a grid, and a kernel integral from there to points.

Source: neuralop/models/fnogno.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opdsl.migrate.neuralop.draft import ConstructorOptions, Draft, Shapes
from opdsl.migrate.neuralop.layer import ADAPTIVE
from opdsl.migrate.neuralop.models.gino import (
    back,
    decoder,
    latent,
    layered,
    notes,
    parameter,
    vector,
    written,
)
from opdsl.migrate.neuralop.models.gno import Numbers, box, points
from opdsl.migrate.neuralop.writing import Lines, call, mlp


class FNOGNOOptions(ConstructorOptions):
    """Arguments of `FNOGNO`, and last the points on each axis of the grid of training."""

    in_channels: int
    out_channels: int
    projection_channel_ratio: int = 4
    gno_coord_dim: int = 3
    gno_pos_embed_type: str | None = "transformer"
    gno_transform_type: str = "linear"
    fno_n_modes: Numbers = (16, 16, 16)
    fno_hidden_channels: int = 64
    fno_lifting_channel_ratio: int = 4
    fno_n_layers: int = 4
    gno_embed_channels: int = 32
    gno_embed_max_positions: float = 10000
    gno_radius: float = 0.033
    gno_weighting_function: str | None = None
    gno_weight_function_scale: float = 1.0
    gno_channel_mlp_hidden_layers: Numbers = (512, 256)
    gno_channel_mlp_non_linearity: Any = "gelu"
    gno_use_open3d: bool = True
    gno_use_torch_scatter: bool = True
    gno_batched: bool = False
    fno_resolution_scaling_factor: Any = None
    fno_block_precision: str = "full"
    fno_use_channel_mlp: bool = True
    fno_channel_mlp_dropout: float = 0
    fno_channel_mlp_expansion: float = 0.5
    fno_non_linearity: Any = "gelu"
    fno_stabilizer: str | None = None
    fno_norm: str | None = None
    fno_norm_groups: int = 1
    fno_ada_in_features: int | None = None
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
    def axes(self) -> int:
        """Number of axes of the grid."""
        return len(self.fno_n_modes)

    @property
    def waves(self) -> str | None:
        """Kind of embedding of the vector of adaptive norms; None if it is used as it is."""
        return "transformer" if self.fno_ada_in_features else None


def fnogno(name: str, o: FNOGNOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """Write the program of an FNOGNO.

    Raises:
        OpError: OP0641, an option that has no counterpart; OP0642, a wrong argument.
    """
    last = decoder(
        name,
        o,
        shapes,
        "gno.",
        radius=o.gno_radius,
        kind=o.gno_transform_type,
        hidden=o.gno_channel_mlp_hidden_layers,
        embedding=o.gno_pos_embed_type,
    )
    stack = latent(name, o, shapes, o.in_channels + o.axes, corrected=corrected)
    lines = Lines()
    x = lines.add("placed", call("concat", "x", "coords(L)"))
    inner, width = o.fno_lifting_channel_ratio * o.fno_hidden_channels, o.fno_hidden_channels
    x = mlp(lines, "lift", x, (inner, inner, width), "gelu", "lifting.")
    x, takes = layered(lines, o, stack, x)
    back(lines, name, o, last, x, corrected=corrected)
    ports = [
        *([parameter(o)] if corrected else []),
        box("L", o.axes, f"min = {stack.least}"),
        points("Q", o.axes),
        f"input x : L -> R^{o.in_channels}",
        *vector(o),
        f"output y : Q -> R^{o.out_channels}",
    ]
    messages = (*notes(o, last, o.gno_transform_type, corrected=corrected), *_crashes(o))
    return written(name, stack, lines, takes, ports, messages)


def _crashes(o: FNOGNOOptions) -> Iterator[str]:
    """Yield notes on options with which neuraloperator itself raises errors."""
    if o.gno_coord_dim != 3 and o.gno_use_open3d:
        yield "neuraloperator cannot make it with `gno_use_open3d` but in three axes"
    if o.gno_weighting_function and not o.gno_batched:
        yield "neuraloperator cannot run its weighting function without `gno_batched`"
    if o.fno_norm == ADAPTIVE and not o.fno_ada_in_features:
        yield "neuraloperator cannot run `ada_in` without `fno_ada_in_features`"
