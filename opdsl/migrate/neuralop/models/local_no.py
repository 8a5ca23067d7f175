"""LocalNO: FNO layers with finite differences and local convolutions.

If the radius of its local convolution is one spacing, which is the default, and its kernel has an
even number of rings, the functions of the kernel vanish at all neighbours up to rounding, which it
then scales up to one. That noise cannot be computed again, so it is taken from the module.

Source: neuralop/models/local_no.py, layers/local_no_block.py, differential_conv.py and
discrete_continuous_convolution.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from typing import Any

from opdsl.blocks.local.disco_conv import least_points
from opdsl.migrate.neuralop.draft import (
    ConstructorOptions,
    Draft,
    Shapes,
    WeightSource,
    each,
    not_importable,
)
from opdsl.migrate.neuralop.layer import NORMS, SKIPS, Layer, Local
from opdsl.migrate.neuralop.layer_weights import stored_weights
from opdsl.migrate.neuralop.levels import Ends, levels_of
from opdsl.migrate.neuralop.models.fno import Stack
from opdsl.migrate.neuralop.models.fno_options import activation, grid, padding
from opdsl.migrate.neuralop.writing import call, value

Numbers = tuple[int, ...]
TABLE = "local_filter_matrix"  # a buffer of the module that is not saved with its weights


class LocalNOOptions(ConstructorOptions):
    """Arguments of the constructor of `LocalNO`."""

    n_modes: Numbers
    in_channels: int
    out_channels: int
    hidden_channels: int
    default_in_shape: Numbers
    n_layers: int = 4
    disco_layers: bool | tuple[bool, ...] = True
    disco_kernel_shape: Numbers = (2, 4)
    radius_cutoff: float | None = None
    domain_length: tuple[float, ...] = (2, 2)
    disco_groups: int = 1
    disco_bias: bool = True
    diff_layers: bool | tuple[bool, ...] = True
    conv_padding_mode: str = "periodic"
    fin_diff_kernel_size: int = 3
    mix_derivatives: bool = True
    lifting_channel_ratio: float = 2
    projection_channel_ratio: float = 2
    positional_embedding: Any = "grid"
    non_linearity: Any = "gelu"
    norm: str | None = None
    norm_groups: int = 1
    complex_data: bool = False
    use_channel_mlp: bool = False
    channel_mlp_dropout: float = 0
    channel_mlp_expansion: float = 0.5
    channel_mlp_skip: str | None = "soft-gating"
    local_no_skip: str | None = "linear"
    resolution_scaling_factor: Any = None
    domain_padding: Any = None
    local_no_block_precision: str = "full"
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

    @property
    def spacings(self) -> float:
        """Radius of the local kernel in spacings of the grid `default_in_shape`."""
        if self.radius_cutoff is None:
            return 1.0
        return self.radius_cutoff * self.default_in_shape[0] / self.domain_length[0]

    @property
    def noisy(self) -> bool:
        """Whether its local kernel is rounding noise."""
        rings = self.disco_kernel_shape[0]
        return self.spacings < 1 + 1e-6 and rings % 2 == 0


def local_no(name: str, o: LocalNOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """Write the program of a LocalNO.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    refuse(name, o)
    axes = len(o.n_modes)
    discos, differences = (each(x, o.n_layers) for x in (o.disco_layers, o.diff_layers))
    places = zip(*(_places(x) for x in (differences, discos)), strict=True)
    c, act = o.hidden_channels, activation(name, o.non_linearity)
    ends = grid(name, o)
    lengths = _lengths(name, o, ends)
    if any(discos) and o.noisy and not corrected and not any(x.endswith(TABLE) for x in shapes):
        raise not_importable(
            name,
            "a local kernel of rounding noise (see the notes), which only the module itself holds",
            "give the module, `opdsl.from_neuralop(module)`",
            "or `--corrected`: a kernel without noise",
        )
    layers = tuple(
        Layer(
            modes=o.n_modes,
            inward=c,
            out=c,
            act=act,
            closing=i < o.n_layers - 1,
            weights=stored_weights(name, o, shapes, f"local_no_blocks.convs.{i}.weight."),
            fno_skip=o.local_no_skip,
            mlp=round(c * o.channel_mlp_expansion) if o.use_channel_mlp else None,
            mlp_skip=o.channel_mlp_skip,
            dropout=o.channel_mlp_dropout,
            norm=o.norm,
            groups=o.norm_groups,
            stabilizer=o.stabilizer == "tanh",
            local=_local(o, difference, disco, lengths, corrected=corrected),
        )
        for i, (difference, disco) in enumerate(places)
    )
    stack = Stack(
        name=name,
        inward=o.in_channels,
        out=o.out_channels,
        layers=layers,
        levels=levels_of(name, ((1.0,) * axes,) * o.n_layers, axes=axes),
        ends=ends,
        lifting=(int(o.lifting_channel_ratio * c), c),
        projection=(int(o.projection_channel_ratio * c), o.out_channels),
        act=act,
        padding=padding(name, o, axes),
        theirs="local_no_blocks.",
    )
    draft = stack.draft(tuple(notes(o, any(discos), corrected=corrected)))
    # unused: a weight that is stored twice, and tables
    return Draft(draft.text, draft.takes, draft.notes, (".conv.weight", TABLE))


def _places(wanted: tuple[bool, ...]) -> list[str | None]:
    """Index of each layer's weights in a list of those wanted; `#` stands for the layer index."""
    if all(wanted):
        return ["#"] * len(wanted)
    counts = accumulate(wanted, initial=0)
    return [str(n) if x else None for n, x in zip(counts, wanted, strict=False)]


def _local(
    o: LocalNOOptions,
    difference: str | None,
    disco: str | None,
    lengths: tuple[float, ...],
    *,
    corrected: bool,
) -> Local:
    terms, takes, least = [], [], 1
    if difference is not None:
        first, last = o.default_in_shape[0], o.default_in_shape[-1]
        rows = zip(lengths, o.default_in_shape, strict=True)
        widths = tuple(length * last / first / n for length, n in rows)
        expression = call(
            "difference_conv",
            "#",
            kernel=o.fin_diff_kernel_size,
            width=widths[0] if len(set(widths)) == 1 else widths,
            edges="zeros" if o.conv_padding_mode == "zeros" else None,
            mix=None if o.mix_derivatives else False,
        )
        terms.append(("d", expression))
        takes.append(WeightSource("d.weight", (f"differential.{difference}.weight",), "same"))
        least = o.fin_diff_kernel_size
    if disco is not None:
        theirs = f"local_convs.{disco}."
        terms.append(("c", _disco(o, lengths[0], corrected=corrected)))
        least = max(least, _least(o, corrected=corrected))
        takes += _disco_takes(o, theirs, corrected=corrected)
    return Local(tuple(terms), tuple(takes), least)


def _lengths(name: str, o: LocalNOOptions, ends: Ends) -> tuple[float, ...]:
    """Return the lengths of the axes in coordinates; neuraloperator counts in points.

    Raises:
        OpError: OP0641, local convolutions on axes of different lengths.
    """
    lengths = tuple(hi - lo for lo, hi in ends or ((0.0, 1.0),) * len(o.n_modes))
    if len(set(lengths)) > 1 and any(each(o.disco_layers, o.n_layers)):
        raise not_importable(name, "a local convolution on axes of several lengths")
    return lengths


def _least(o: LocalNOOptions, *, corrected: bool) -> int:
    """Number of points on each axis that the local kernel needs."""
    if o.noisy and not corrected:
        return 3
    rings, angles = o.disco_kernel_shape
    return least_points((rings, angles), 2, o.spacings / o.default_in_shape[0]) if corrected else 1


def _disco(o: LocalNOOptions, length: float, *, corrected: bool) -> str:
    if o.noisy and not corrected:
        return call(
            "conv",
            "#",
            out=o.hidden_channels,
            kernel=3,
            bias=None if o.disco_bias else False,
            edges="zeros",
        )
    return call(
        "disco_conv",
        "#",
        radius=length * o.spacings / o.default_in_shape[0],
        shape=o.disco_kernel_shape,
        bias=None if o.disco_bias else False,
        edges=None if corrected else "zeros",
        frozen=None if corrected else o.default_in_shape[0],
    )


def _disco_takes(o: LocalNOOptions, theirs: str, *, corrected: bool) -> Iterator[WeightSource]:
    if o.noisy and not corrected:
        yield WeightSource("c.weight", (f"{theirs}{TABLE}", f"{theirs}weight"), "sampled")
    else:
        yield WeightSource("c.weight", (f"{theirs}weight",), f"functions_{functions(o)}")
    if o.disco_bias:
        yield WeightSource("c.bias", (f"{theirs}bias",), "same")


def functions(o: LocalNOOptions) -> int:
    """Number of kernel functions that are not zero; neuraloperator has weights for more."""
    rings, angles = o.disco_kernel_shape
    return (rings + 1) // 2 if angles == 1 else rings // 2 * angles + rings % 2


def refuse(name: str, o: LocalNOOptions) -> None:
    """Refuse options that have no counterpart.

    Raises:
        OpError: OP0641.
    """
    for key, choices in (("norm", NORMS), ("local_no_skip", SKIPS), ("channel_mlp_skip", SKIPS)):
        option = getattr(o, key)
        if option is not None and option not in choices:
            raise not_importable(name, f"`{key} = {option}`", f"known: {', '.join(choices)}")
    usual = {
        "complex_data": False,
        "preactivation": False,
        "resolution_scaling_factor": None,
        "disco_groups": 1,
    }
    for key, only in usual.items():
        if getattr(o, key) != only:
            raise not_importable(name, f"`{key} = {getattr(o, key)}`")
    if o.conv_padding_mode not in ("periodic", "zeros"):
        mode = f"`conv_padding_mode = {o.conv_padding_mode}`"
        raise not_importable(name, f"{mode} on a grid that closes")
    if o.max_n_modes is not None and tuple(o.max_n_modes) != tuple(o.n_modes):
        raise not_importable(name, "`max_n_modes` other than `n_modes`")
    if any(each(o.disco_layers, o.n_layers)):
        _refuse_kernel(name, o)
    if any(each(o.diff_layers, o.n_layers)):
        _refuse_padding(name, o)


def _refuse_kernel(name: str, o: LocalNOOptions) -> None:
    if len(o.disco_kernel_shape) != 2:
        raise not_importable(name, f"`disco_kernel_shape = {value(o.disco_kernel_shape)}`")
    if len(set(o.default_in_shape)) != 1 or len(set(o.domain_length)) != 1:
        raise not_importable(name, "a local convolution on a grid that is not square")
    if abs(o.spacings - round(o.spacings)) > 1e-6:
        raise not_importable(
            name, "a radius of other than whole spacings, whose points neuraloperator misplaces"
        )


def _refuse_padding(name: str, o: LocalNOOptions) -> None:
    """Refuse unequal padding: neuraloperator divides all differences by the last spacing."""
    fractions = padding(name, o, len(o.n_modes))
    rows = zip(o.default_in_shape, fractions, strict=True)
    if len({Fraction(2 * round(p * n), n) for n, p in rows}) > 1:
        raise not_importable(
            name,
            f"`domain_padding = {o.domain_padding}` beside `diff_layers`, which makes axes longer "
            "by different parts",
        )


def notes(o: LocalNOOptions, local: bool, *, corrected: bool) -> Iterator[str]:
    """Yield notes on faults of neuraloperator and whether they are kept or corrected."""
    if isinstance(o.domain_padding, tuple):
        yield "`domain_padding` as a tuple is no padding there, nor is it here"
    if any(each(o.diff_layers, o.n_layers)) and len(o.n_modes) > 1:
        yield (
            "corrected: differences along all axes are divided by the spacing of the last there, "
            "here by that of each: equal on grids of the shape that it was made for"
        )
    if not local:
        return
    verb = "corrected" if corrected else "kept"
    yield f"{verb}: its local convolution sees zeros beyond the ends of axes that close"
    yield f"{verb}: its local kernel is a number of points, so it shrinks with the grid"
    if o.noisy:
        yield (
            f"{verb}: its radius is one spacing, where every function of its kernel is zero; some "
            "are rounding noise that is scaled up to one"
        )
    if corrected and (n := _least(o, corrected=True)) > o.default_in_shape[0]:
        yield f"corrected: so small a kernel asks for {n} points, more than it was made for"
