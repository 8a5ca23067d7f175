"""OTNO: an FNO on the grid to which points were transported, evaluated at points again.

Source: neuralop/models/otno.py at 93d3f06.
"""

from __future__ import annotations

from typing import Any

from opdsl.migrate.neuralop.draft import ConstructorOptions, Draft, Shapes, not_importable
from opdsl.migrate.neuralop.models.fno import stack_of
from opdsl.migrate.neuralop.models.fno_options import FNOOptions, Numbers, notes
from opdsl.migrate.neuralop.writing import Lines, call, mlp

BATCHED = (
    "neuraloperator takes one sample at a time, and is wrong in silence for more; here each sample "
    "has its numbers `ind_dec`, and as many points as it likes"
)


class OTNOOptions(ConstructorOptions):
    """Arguments of the constructor of `OTNO`, with those that it passes on to `FNO`."""

    n_modes: Numbers
    hidden_channels: int
    in_channels: int = 4
    out_channels: int = 1
    lifting_channel_ratio: float = 2
    projection_channel_ratio: float = 2
    n_layers: int = 4
    positional_embedding: Any = None
    use_channel_mlp: bool = False
    channel_mlp_expansion: float | None = None
    channel_mlp_dropout: float = 0
    norm: str | None = "group_norm"
    norm_groups: int = 1
    factorization: str | None = None
    rank: float | int | Numbers = 1
    domain_padding: Any = None
    non_linearity: Any = "gelu"
    complex_data: bool = False
    channel_mlp_skip: str | None = "soft-gating"
    fno_skip: str | None = "linear"
    conv_bias_kernel: int = 1
    resolution_scaling_factor: Any = None
    fno_block_precision: str = "full"
    stabilizer: str | None = None
    max_n_modes: Numbers | None = None
    fixed_rank_modes: Any = False
    implementation: str = "factorized"
    decomposition_kwargs: dict[str, Any] | None = None
    separable: bool = False
    preactivation: bool = False
    conv_module: Any = None
    enforce_hermitian_symmetry: bool = True


def otno(name: str, o: OTNOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """Write the program of an OTNO.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    if o.complex_data:
        raise not_importable(name, "`complex_data = True`, of which it takes no complex numbers")
    options = FNOOptions(**_given(o))
    stack = stack_of(name, options, shapes, corrected=corrected)
    if stack.levels.any:
        raise not_importable(name, "a change of resolution, after which `ind_dec` names no point")
    lines = Lines()
    x = stack.placed(lines, "x")
    x = mlp(lines, "lift", x, stack.lifting, stack.act, "lifting.")
    x = lines.add("padded", call("pad", x, to="E")) if any(stack.padding) else x
    x, takes = stack.stacked(lines, x, stack.names())
    x = lines.add("cropped", call("crop", x, to="D")) if any(stack.padding) else x
    x = lines.add("carried", call("pull", x, "ind_dec"))
    mlp(lines, "project", x, stack.projection, stack.act, "projection.")
    ports = [
        *stack.levels.declaration(stack.layers, stack.ends, stack.padding),
        "domain P = points(3, geometry = per_sample)",
        f"input x : D -> R^{o.in_channels}",
        "input ind_dec : P -> R^1",
        f"output y : P -> R^{o.out_channels}",
    ]
    body = "\n".join(f"  {x}" for x in ports)
    blocks = [x.definition(y) for x, y in stack.names().items()]
    model = f"model {name} {{\n{body}\n\n{lines.text('y')}\n}}"
    messages = (*notes(options, stack.levels, corrected=corrected), BATCHED)
    return Draft("\n\n".join([*blocks, model]), (*lines.taken("y", "", ""), *takes), messages)


def _given(o: OTNOOptions) -> dict[str, Any]:
    """Collect the arguments of the FNO; an expansion of None leaves its default."""
    arguments = {k: getattr(o, k) for k in OTNOOptions.model_fields}
    return {k: x for k, x in arguments.items() if k != "channel_mlp_expansion" or x is not None}
