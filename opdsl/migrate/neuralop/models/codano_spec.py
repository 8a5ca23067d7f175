"""The sizes of a CODANO (channels, tokens, grids), and what of it cannot be imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import lcm

from opdsl.migrate.neuralop.draft import (
    Shapes,
    not_importable,
    word,
)
from opdsl.migrate.neuralop.layer import SKIPS, Layer
from opdsl.migrate.neuralop.layer_weights import NEWEST, stored_weights
from opdsl.migrate.neuralop.levels import Levels, levels_of
from opdsl.migrate.neuralop.models.codano_options import CODANOOptions, LayerOptions, Numbers
from opdsl.migrate.neuralop.models.fno_options import activation, padding
from opdsl.migrate.neuralop.writing import (
    value,
)

MARK = "positional_encoding."


@dataclass(frozen=True)
class CODANOSpec:
    """The options of a CODANO, and sizes derived from them."""

    name: str
    o: CODANOOptions
    layer: LayerOptions
    shapes: Shapes
    corrected: bool

    @property
    def axes(self) -> int:
        """Number of axes of the grid."""
        return len(self.o.n_modes[0])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables."""
        variables = self.o.variables
        if isinstance(variables, int):
            return tuple(f"v{i + 1}" for i in range(variables))
        return variables or self.o.variable_ids or ()

    @property
    def marked(self) -> tuple[str, ...]:
        """Names of the variables that have a positional encoding."""
        own = tuple(x.removeprefix(MARK) for x in self.shapes if x.startswith(MARK))
        return own or self.o.variable_ids or ()

    @property
    def extended(self) -> int:
        """Channels of a variable with its side inputs."""
        o = self.o
        marks = o.positional_encoding_dim if o.use_positional_encoding else 0
        return 1 + o.static_channel_dim + marks

    @property
    def hidden(self) -> int:
        """Channels of a variable in the layers."""
        lifted = self.o.lifting_channels is not None
        return self.o.hidden_variable_codimension if lifted else self.extended

    @property
    def functions(self) -> int:
        """Number of variables, plus one for the CLASS function if there is one."""
        return len(self.names) + self.o.enable_cls_token

    @property
    def token(self) -> int:
        """Channels of a token."""
        return 1 if self.o.per_channel_attention else self.o.attention_token_dim

    @property
    def head(self) -> int:
        """Channels of a token in one head."""
        width = None if self.o.per_channel_attention else self.layer.head_codimension
        return self.token if width is None else width

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.functions * self.hidden // self.token

    @cached_property
    def padding(self) -> tuple[float, ...]:
        """Fraction of each axis that is added on both of its sides."""
        return padding(self.name, self.o, self.axes)

    @property
    def padded(self) -> bool:
        """Whether the grid is padded."""
        return any(self.padding)

    @cached_property
    def multiple(self) -> int:
        """Number that the points of the grid of the layers must be a multiple of."""
        return lcm(*self.levels.coarser, *map(self.coarser, range(self.o.n_layers)))

    @cached_property
    def step(self) -> int:
        """Number that the points of an axis must be a multiple of, padding considered."""
        if self.multiple == 1:
            return 1
        parts = [Fraction(x).limit_denominator(1000).denominator for x in self.padding]
        return self.multiple * lcm(*parts)

    @property
    def grid(self) -> str:
        """Name of the domain of the layers."""
        return "E" if self.padded else "D"

    @cached_property
    def levels(self) -> Levels:
        """The grids between the layers."""
        factors = self.o.per_layer_scaling_factors or ((1.0,) * self.axes,) * self.o.n_layers
        return levels_of(self.name, factors, axes=self.axes)

    def domain(self, level: int) -> str:
        """Name of the grid before layer `level`."""
        return self.levels.domain(level, self.grid)

    def coarser(self, i: int) -> int:
        """Ratio of points of the input grid of layer i and the grid of its scores."""
        scale = (self.o.attention_scaling_factors or (1.0,) * self.o.n_layers)[i]
        ratio = 1 / Fraction(scale).limit_denominator(64)
        if ratio.denominator != 1:
            raise not_importable(self.name, f"`attention_scaling_factors` of {value(scale)}")
        return int(ratio)

    def heads(self, i: int) -> int:
        """Number of heads of layer i."""
        return (self.o.n_heads or (1,) * self.o.n_layers)[i]

    def operator(self, i: int, part: str, inward: int, out: int, index: int = 0) -> Layer:
        """Return a Fourier layer within layer i, shared by all tokens."""
        mixer = part == "mixer"
        return Layer(
            modes=self.o.n_modes[i],
            inward=inward,
            out=out,
            act=activation(self.name, self.o.non_linearity) if mixer else "identity",
            closing=mixer and index == 0,
            weights=stored_weights(
                self.name,
                self.layer,
                self.shapes,
                f"attention_layers.{i}.{part}.convs.{index}.weight.",
            ),
            fno_skip=self.layer.fno_skip if mixer else "linear",
            mlp=round(out * self.layer.channel_mlp_expansion)
            if self.layer.use_channel_mlp
            else None,
            mlp_skip=self.layer.channel_mlp_skip,
            norm="instance_norm" if mixer else None,
            changes=part in {"Key", "Query"} and self.coarser(i) > 1,
            wrong=not self.corrected,
            copies=self.tokens,
        )


def all_series(built: CODANOSpec) -> list[Numbers]:
    """Numbers of frequencies of each kind of series."""
    counts = [built.o.n_modes[0]] if built.o.enable_cls_token else []
    return [*counts, encoding(built)] if built.o.use_positional_encoding else counts


def encoding(built: CODANOSpec) -> Numbers:
    """Numbers of frequencies of a positional encoding; neuraloperator halves the last one."""
    *full, last = built.o.positional_encoding_modes or ()
    return (*full, last // 2)


def refuse(built: CODANOSpec) -> None:
    """Refuse options that have no counterpart.

    Raises:
        OpError: OP0641.
    """
    for what, helps in _refused(built.o, built.layer, built):
        raise not_importable(built.name, what, *helps)


def _refused(
    o: CODANOOptions, layer: LayerOptions, built: CODANOSpec
) -> Iterator[tuple[str, list[str]]]:
    if not built.names:
        helps = [
            "neuraloperator takes any number of variables, a program says how many",
            "give `--variables 3`, in Python `variables=3`",
        ]
        yield "an unknown number of variables: `variable_ids` is not given", helps
    strange = [x for x in built.names if x not in built.marked] if o.use_positional_encoding else []
    if strange:
        encoded_names = ", ".join(built.marked)
        yield (
            f"the variable `{strange[0]}`, which has no positional encoding",
            [f"name variables that have one: {encoded_names}"],
        )
    if len(o.n_modes) != o.n_layers:
        yield f"`n_modes` for other than `n_layers = {o.n_layers}` layers", []
    if built.axes not in (2, 3):
        yield f"{built.axes} axes, of which it has two or three", []
    if word(o.conv_module) not in (None, "SpectralConv"):
        yield f"`conv_module = {word(o.conv_module)}`", []
    if o.horizontal_skips_map and not o.use_horizontal_skip_connection:
        yield "`horizontal_skips_map` without `use_horizontal_skip_connection`", []
    if o.use_positional_encoding and min(encoding(built), default=0) < 1:
        yield "`positional_encoding_modes` without a frequency on some axis", []
    yield from _refused_layers(layer)
    yield from _refused_changes(built)


def _refused_layers(layer: LayerOptions) -> Iterator[tuple[str, list[str]]]:
    choices: dict[str, tuple[object, ...]] = {
        "norm": (None, "instance_norm"),
        "fno_skip": (None, *SKIPS),
        "channel_mlp_skip": (None, *SKIPS),
        "preactivation": (False,),
        "joint_factorization": (False,),
        "permutation_eq": (True,),
    }
    for key, values in choices.items():
        if getattr(layer, key) not in values:
            helps = [f"known: {', '.join(map(str, values))}"]
            yield f"`{key} = {getattr(layer, key)}` of its layers", helps


def _refused_changes(built: CODANOSpec) -> Iterator[tuple[str, list[str]]]:
    moved = built.levels.any or any(built.coarser(i) > 1 for i in range(built.o.n_layers))
    if moved and built.axes > 2 and not built.corrected:
        yield "a change of resolution in three axes", ["`--corrected` imports it exactly"]
    ends = {built.levels.coarser[0], built.levels.coarser[-1]}
    if built.padded and built.levels.any and ends != {1}:
        yield "padding and an output on another grid, or layers on a finer one", []


def notes(built: CODANOSpec) -> Iterator[str]:
    """Yield notes on faults of neuraloperator and whether they are kept or corrected."""
    o = built.o
    series = o.use_positional_encoding or o.enable_cls_token
    also = ", and its trained functions are divided by that number" if series else ""
    fault = f"scores grow with the root of the number of points{also}"
    if built.corrected:
        yield (
            f"corrected: there {fault}; weights that were trained under this fault want training "
            "again"
        )
    else:
        yield (
            f"kept: {fault} (`faults = {NEWEST}`); so it is another operator at every resolution"
        )
    yield f"neuraloperator takes any number of variables, this program {len(built.names)}"
    if o.nonlinear_attention:
        yield "`nonlinear_attention` changes nothing there, and has no counterpart"
    if o.enable_cls_token and o.projection_channels is None:
        yield "kept: without a projection the CLASS function stays in the output, as the first"
    if built.padded and built.step > built.multiple:
        yield "sizes are those whose padding is a whole number of points; there it is rounded"
