"""Arguments of the constructor of CODANO and of its layers."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveInt

from opdsl.migrate.neuralop.draft import (
    ConstructorOptions,
)

Numbers = tuple[int, ...]


class CODANOOptions(ConstructorOptions):
    """Arguments of `CODANO`, and last the variables of its calls: their number or names."""

    output_variable_codimension: int = 1
    lifting_channels: int | None = 64
    hidden_variable_codimension: int = 32
    projection_channels: int | None = 64
    use_positional_encoding: bool = False
    positional_encoding_dim: int = 8
    positional_encoding_modes: Numbers | None = None
    static_channel_dim: int = 0
    variable_ids: tuple[str, ...] | None = None
    use_horizontal_skip_connection: bool = False
    horizontal_skips_map: dict[int, int] | None = None
    n_layers: int = 4
    n_modes: tuple[Numbers, ...]
    per_layer_scaling_factors: tuple[tuple[float, ...], ...] | None = None
    n_heads: Numbers | None = None
    attention_scaling_factors: tuple[float, ...] | None = None
    conv_module: Any = None
    nonlinear_attention: bool = False
    non_linearity: Any = "gelu"
    attention_token_dim: int = 1
    per_channel_attention: bool = False
    layer_kwargs: dict[str, Any] | None = None
    domain_padding: Any = 0.25
    enable_cls_token: bool = False
    enforce_hermitian_symmetry: bool = True
    variables: PositiveInt | tuple[str, ...] | None = None


class LayerOptions(ConstructorOptions):
    """Entries of `layer_kwargs`: the arguments of `CODALayer` that the model does not set."""

    head_codimension: int | None = None
    codimension_size: int | None = None
    permutation_eq: bool = True
    norm: str | None = "instance_norm"
    temperature: float = 1.0
    incremental_n_modes: Any = None
    use_channel_mlp: bool = True
    channel_mlp_expansion: float = 1.0
    fno_skip: str | None = "linear"
    channel_mlp_skip: str | None = "linear"
    preactivation: bool = False
    separable: bool = False
    factorization: str | None = "tucker"
    rank: float | int | tuple[int, ...] = 1.0
    joint_factorization: bool = False
    fixed_rank_modes: Any = False
    implementation: str = "factorized"
    decomposition_kwargs: dict[str, Any] | None = None
    enforce_hermitian_symmetry: bool = True


def codano_arguments(module: Any) -> dict[str, Any]:
    """Recover the constructor's arguments of a CODANO, which stores only some of them."""
    attributes = (
        "n_layers", "n_modes", "n_heads", "non_linearity", "enable_cls_token", "variable_ids",
        "static_channel_dim", "layer_kwargs", "use_positional_encoding", "horizontal_skips_map",
        "use_horizontal_skip_connection", "output_variable_codimension",
    )  # fmt: skip
    first = module.attention_layers[0]
    modes = module.positional_encoding_modes
    layer_arguments = module.layer_kwargs | {"head_codimension": first.head_codimension}
    return {x: getattr(module, x) for x in attributes} | {
        "per_layer_scaling_factors": module.per_layer_scale_factors,
        "attention_scaling_factors": module.attention_scalings,
        "positional_encoding_dim": module.positional_encoding_dim,
        # the constructor halves the last one, in the list of its caller too
        "positional_encoding_modes": None if modes is None else (*modes[:-1], 2 * modes[-1]),
        "hidden_variable_codimension": module.hidden_variable_codimension,
        "lifting_channels": module.lifting.hidden_channels if module.lifting else None,
        "projection_channels": module.projection.hidden_channels if module.projection else None,
        "attention_token_dim": first.token_codimension,
        "layer_kwargs": layer_arguments,
        "conv_module": type(first.Key.convs[0]),
        "domain_padding": _padding(module),
    }


def _padding(module: Any) -> Any:
    return None if module.domain_padding is None else module.domain_padding.domain_padding
