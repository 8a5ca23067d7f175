"""Arguments of the constructors of FNO, TFNO and SFNO, and what of them can be imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opdsl.migrate.neuralop.draft import (
    ConstructorOptions,
    each,
    not_importable,
    word,
)
from opdsl.migrate.neuralop.layer import NORMS, SKIPS
from opdsl.migrate.neuralop.layer_weights import NEWEST
from opdsl.migrate.neuralop.levels import Ends, Levels
from opdsl.migrate.neuralop.writing import ACTIVATIONS, AXES, value

Numbers = tuple[int, ...]


class FNOOptions(ConstructorOptions):
    """Arguments of the constructor of `FNO`."""

    n_modes: Numbers
    in_channels: int
    out_channels: int
    hidden_channels: int
    n_layers: int = 4
    lifting_channel_ratio: float = 2
    projection_channel_ratio: float = 2
    positional_embedding: Any = "grid"
    non_linearity: Any = "gelu"
    norm: str | None = None
    norm_groups: int = 1
    complex_data: bool = False
    use_channel_mlp: bool = True
    channel_mlp_dropout: float = 0
    channel_mlp_expansion: float = 0.5
    channel_mlp_skip: str | None = "soft-gating"
    fno_skip: str | None = "linear"
    conv_bias_kernel: int = 1
    resolution_scaling_factor: Any = None
    domain_padding: Any = None
    fno_block_precision: str = "full"
    stabilizer: str | None = None
    max_n_modes: Numbers | None = None
    factorization: str | None = None
    rank: float | int | tuple[int, ...] = 1.0
    fixed_rank_modes: Any = False
    implementation: str = "factorized"
    decomposition_kwargs: dict[str, Any] | None = None
    separable: bool = False
    preactivation: bool = False
    conv_module: Any = None
    enforce_hermitian_symmetry: bool = True


class TFNOOptions(FNOOptions):
    """Arguments of the constructor of `TFNO`."""

    factorization: str | None = "Tucker"
    rank: float | int | tuple[int, ...] = 0.1


class SFNOOptions(FNOOptions):
    """Arguments of the constructor of `SFNO`."""

    factorization: str | None = "dense"


def refuse(name: str, o: FNOOptions) -> None:
    """Refuse options that have no counterpart.

    Raises:
        OpError: OP0641.
    """
    for key, choices in (("norm", NORMS), ("fno_skip", SKIPS), ("channel_mlp_skip", SKIPS)):
        option = getattr(o, key)
        if option is not None and option not in choices:
            raise not_importable(name, f"`{key} = {option}`", f"known: {', '.join(choices)}")
    if o.complex_data:
        _refuse_complex(name, o)
    if o.conv_bias_kernel % 2 == 0:
        raise not_importable(
            name, f"`conv_bias_kernel = {o.conv_bias_kernel}`, a stencil without a middle"
        )
    if name == "SFNO":
        _refuse_on_sphere(name, o)
    if o.stabilizer not in (None, "tanh"):
        raise not_importable(
            name, f"`stabilizer = {o.stabilizer}`, which it ignores without a word"
        )
    if not 1 <= len(o.n_modes) <= len(AXES):
        raise not_importable(name, f"{len(o.n_modes)} axes")
    if o.max_n_modes is not None and tuple(o.max_n_modes) != tuple(o.n_modes):
        raise not_importable(name, "`max_n_modes` other than `n_modes`")


def refuse_changes(name: str, o: Any, levels: Levels, *, corrected: bool) -> None:
    """Refuse options that have no counterpart where the resolution changes.

    Raises:
        OpError: OP0641.
    """
    if not levels.any:
        return
    if any(padding(name, o, levels.axes)):
        raise not_importable(name, "`domain_padding` beside a change of resolution")
    skips = o.fno_skip is not None or (o.use_channel_mlp and o.channel_mlp_skip is not None)
    if levels.axes > 2 and skips and not corrected:
        # neuraloperator counts the Nyquist frequency of a skip twice or on one side only
        raise not_importable(
            name,
            f"a change of resolution in {levels.axes} axes beside skips",
            "`--corrected` imports it exactly",
        )


def _refuse_complex(name: str, o: FNOOptions) -> None:
    if o.norm == "batch_norm":
        # neuraloperator trains a batch norm on the real and the imaginary parts in turns
        raise not_importable(name, "`norm = batch_norm` beside `complex_data = True`")
    if o.conv_bias_kernel != 1 or name == "SFNO":
        raise not_importable(name, "`complex_data = True` beside a stencil or a sphere")
    if any(x != 1 for layer in scalings(o) for x in layer):
        raise not_importable(name, "a change of resolution beside `complex_data = True`")


def _refuse_on_sphere(name: str, o: FNOOptions) -> None:
    if len(o.n_modes) != 2:
        raise not_importable(name, f"{len(o.n_modes)} axes: a sphere has two")
    if min(o.n_modes[0], o.n_modes[1] // 2) < 1:
        raise not_importable(name, f"`n_modes = {value(o.n_modes)}`, which keeps nothing")
    for key, usual in (("domain_padding", None), ("conv_bias_kernel", 1), ("separable", False)):
        if getattr(o, key) != usual:
            raise not_importable(name, f"`{key} = {getattr(o, key)}`")
    if any(x != 1 for layer in scalings(o) for x in layer):
        raise not_importable(name, f"`resolution_scaling_factor = {o.resolution_scaling_factor}`")


def activation(name: str, kind: object) -> str:
    """Return our keyword for an activation.

    Raises:
        OpError: OP0641, there is none.
    """
    keyword = ACTIVATIONS.get(str(word(kind)))
    if keyword is None:
        raise not_importable(
            name, f"the activation `{word(kind)}`", f"known: {', '.join(ACTIVATIONS)}"
        )
    return keyword


def grid(name: str, o: Any) -> Ends:
    """Return the ends of each axis if coordinates are concatenated to the input, else None.

    Raises:
        OpError: OP0641, the embedding has no counterpart.
    """
    kind = o.positional_embedding
    axes = len(o.n_modes) if hasattr(o, "n_modes") else len(o.uno_n_modes[0])
    if kind is None:
        return None
    if kind == "grid":
        return ((0.0, 1.0),) * axes
    ends = getattr(kind, "grid_boundaries", None)
    if ends is None:
        raise not_importable(name, f"`positional_embedding = {word(kind)}`")
    return tuple((float(lo), float(hi)) for lo, hi in ends)


def scalings(o: Any) -> tuple[tuple[float, ...], ...]:
    """Scaling factors of the resolution for each layer and axis."""
    layers, axes = int(o.n_layers), len(o.n_modes)
    factors = o.resolution_scaling_factor
    if factors is None:
        return ((1.0,) * axes,) * layers
    return tuple(tuple(float(y) for y in each(x, axes)) for x in each(factors, layers))


def padding(name: str, o: Any, axes: int) -> tuple[float, ...]:
    """Return the fraction of each axis that is added on both of its sides.

    Raises:
        OpError: OP0641, a fraction is negative, or their number is not that of the axes.
    """
    # neuraloperator silently ignores a tuple
    if o.domain_padding is None or isinstance(o.domain_padding, tuple):
        return (0.0,) * axes
    fractions = tuple(float(x) for x in each(o.domain_padding, axes))
    if len(fractions) != axes or min(fractions) < 0:
        raise not_importable(name, f"`domain_padding = {value(fractions)}` on {axes} axes")
    return fractions if sum(fractions) > 0 else (0.0,) * axes


def notes(o: FNOOptions, levels: Levels, *, corrected: bool) -> Iterator[str]:
    """Yield notes on faults and surprises of neuraloperator, and whether they are kept."""
    if levels.any:
        yield change_note(corrected)
    if o.complex_data:
        yield complex_note(corrected)
    if isinstance(o.domain_padding, tuple):
        yield "`domain_padding` as a tuple is no padding there, nor is it here"
    if o.fno_block_precision != "full":
        yield f"`fno_block_precision = {o.fno_block_precision}` is a setting of a run: `precision`"
    if not o.use_channel_mlp:
        yield "without `use_channel_mlp` activations and norms stand twice in a row there: kept"
    if o.norm == "group_norm" and o.preactivation:
        yield "the first activation acts on the lifted input, before any layer: kept"


def complex_note(corrected: bool) -> str:
    """Note on the fault of neuraloperator with complex functions."""
    if corrected:
        return (
            "corrected: of complex functions all frequencies up to the greatest stay where they "
            "are; weights that were trained under the fault want training again"
        )
    return (
        "kept: of complex functions neuraloperator reads the last axis in one order and writes it "
        f"in another, and of one axis keeps the frequencies 0, 1, 2 ... only (`faults = {NEWEST}`)"
    )


def change_note(corrected: bool) -> str:
    """Note on the fault of neuraloperator at a change of resolution."""
    if corrected:
        return (
            "corrected: a change of resolution keeps the function; weights that were trained under "
            "the fault of neuraloperator want training again"
        )
    return (
        "kept: where the resolution changes, neuraloperator puts negative frequencies into wrong "
        "places, cuts the imaginary part of the greatest one and interpolates skips between "
        f"misplaced points (`faults = {NEWEST}`)"
    )
