"""FNO and TFNO, and SFNO, which is FNO with another convolution.

Source: neuralop/models/fno.py, sfno.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from opdsl.migrate.neuralop.draft import (
    Draft,
    Options,
    Shapes,
    Take,
    each,
    not_importable,
    word,
)
from opdsl.migrate.neuralop.layer import NEWEST, NORMS, SKIPS, Layer, kept_as, network
from opdsl.migrate.neuralop.levels import Ends, Levels, levels_of
from opdsl.migrate.neuralop.writing import ACTIVATIONS, AXES, Lines, call, value

Numbers = tuple[int, ...]


class FNOOptions(Options):
    """The constructor of `FNO`."""

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
    """The constructor of `TFNO`."""

    factorization: str | None = "Tucker"
    rank: float | int | tuple[int, ...] = 0.1


class SFNOOptions(FNOOptions):
    """The constructor of `SFNO`."""

    factorization: str | None = "dense"


def fno(name: str, o: FNOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """The program of an FNO.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    levels = levels_of(name, scalings(o), axes=len(o.n_modes))
    told = tuple(notes(o, levels, corrected=corrected))
    return stack_of(name, o, shapes, corrected=corrected).draft(told)


def stack_of(name: str, o: FNOOptions, shapes: Shapes, *, corrected: bool) -> Stack:
    """Its parts.

    Raises:
        OpError: OP0641.
    """
    refuse(name, o)
    levels = levels_of(name, scalings(o), axes=len(o.n_modes))
    refuse_changes(name, o, levels, corrected=corrected)
    layers = tuple(_layer(name, o, shapes, i) for i in range(o.n_layers))
    c, act = o.hidden_channels, activation(name, o.non_linearity)
    return Stack(
        name=name,
        inward=o.in_channels,
        out=o.out_channels,
        layers=tuple(
            replace(x, changes=levels.changes(i), wrong=not corrected) for i, x in enumerate(layers)
        ),
        levels=levels,
        ends=grid(name, o),
        lifting=(int(o.lifting_channel_ratio * c), c),
        projection=(int(o.projection_channel_ratio * c), o.out_channels),
        act=act,
        padding=padding(name, o, len(o.n_modes)),
    )


def _layer(name: str, o: FNOOptions, shapes: Shapes, i: int) -> Layer:
    """The `i`th layer, on one grid."""
    c, theirs = o.hidden_channels, f"fno_blocks.convs.{i}.weight."
    return Layer(
        modes=o.n_modes,
        inward=c,
        out=c,
        # layers of complex functions bend by gelu there, whatever is asked for
        act="gelu" if o.complex_data else activation(name, o.non_linearity),
        closing=i < o.n_layers - 1,
        weights=kept_as(name, o, shapes, theirs),
        fno_skip=o.fno_skip,
        stencil=o.conv_bias_kernel,
        mlp=round(c * o.channel_mlp_expansion) if o.use_channel_mlp else None,
        mlp_skip=o.channel_mlp_skip,
        dropout=o.channel_mlp_dropout,
        norm=o.norm,
        groups=o.norm_groups,
        stabilizer=o.stabilizer == "tanh",
        preactivation=o.preactivation,
        spherical=name == "SFNO" or word(o.conv_module) == "SphericalConv",
        complex=o.complex_data,
    )


@dataclass(frozen=True, slots=True)
class Stack:
    """A lifting, layers one after the other, a projection.

    Attributes:
        inward, out: channels of the whole.
        ends: of each axis, where coordinates stand beside the input.
        lifting, projection: widths of their layers.
        act: their activation.
        padding: the part of each axis that is added on both of its sides.
        prefix: how the names of its blocks begin.
        theirs: how the names of the weights of layers begin.
        told: what every layer gets beside its function.
    """

    name: str
    inward: int
    out: int
    layers: tuple[Layer, ...]
    levels: Levels
    ends: Ends
    lifting: Numbers
    projection: Numbers
    act: str
    padding: tuple[float, ...]
    prefix: str = ""
    theirs: str = "fno_blocks."
    told: tuple[str, ...] = ()

    def draft(self, notes: tuple[str, ...]) -> Draft:
        """The program."""
        lines, takes = self.body()
        blocks = [x.definition(name) for x, name in self.names().items()]
        ports = [*self.levels.declaration(self.layers, self.ends, self.padding), *self.ports()]
        body = "\n".join(f"  {x}" for x in ports)
        model = f"model {self.name} {{\n{body}\n\n{lines.text('y')}\n}}"
        return Draft("\n\n".join([*blocks, model]), (*lines.taken("y", "", ""), *takes), notes)

    def ports(self) -> list[str]:
        """What goes in and comes out."""
        return [
            f"input x : {self.levels.domain(0)} -> {self.field}^{self.inward}",
            f"output y : {self.levels.domain(len(self.layers))} -> {self.field}^{self.out}",
        ]

    def body(self) -> tuple[Lines, list[Take]]:
        """The lines, the last of which is the output, and the weights of the layers."""
        lines, names, x = Lines(), self.names(), "x"
        x = self.placed(lines, x)
        x = network(lines, "lift", x, self.lifting, self.act, "lifting.", parts=self.complex)
        x = lines.add("padded", call("pad", x, to="E")) if any(self.padding) else x
        x, takes = self.stacked(lines, x, names)
        x = lines.add("cropped", call("crop", x, to="D")) if any(self.padding) else x
        theirs, c = "projection.", self.complex
        x = network(lines, "project", x, self.projection, self.act, theirs, parts=c)
        if c:
            n = self.out
            lines.add("result", call("complex", f"{x}[0..{n}]", f"{x}[{n}..{2 * n}]"))
        return lines, takes

    def placed(self, lines: Lines, x: str) -> str:
        """The input with the coordinates, if they stand beside it."""
        if self.ends is None and not self.complex:
            return x
        kind = "fraction" if self.spherical else None
        where = call("coords", self.levels.domain(0), kind=kind)
        if not self.complex:
            return lines.add("placed", call("concat", x, where))
        if self.ends is not None:
            x = lines.add("z", call("concat", x, call("complex", where)))
        return lines.add("placed", call("concat", call("real", x), call("imag", x)))

    @property
    def complex(self) -> bool:
        """Whether its functions are complex."""
        return self.layers[0].complex

    @property
    def field(self) -> str:
        """The numbers that go in and come out."""
        return "C" if self.complex else "R"

    def stacked(self, lines: Lines, x: str, names: dict[Layer, str]) -> tuple[str, list[Take]]:
        """The layers: a repeat where all are of one kind, else one line for each."""
        count = len(self.layers)
        alike = len(names) == 1 and not self.layers[0].preactivation
        if alike and count > 1 and not self.levels.any:
            act = self.layers[0].act
            closing = f"if i < {count - 1} then {act} else identity"
            body = call(f"{self.prefix}Layer", *self.told, act=closing)
            x = lines.add("layers", f"{x} |> repeat {count} as i {{ {body} }}")
            paths = [f"layers.repeat.{i}.{snake(self.prefix)}layer." for i in range(count)]
        else:
            for i, layer in enumerate(self.layers):
                to = self.levels.domain(i + 1) if layer.changes else None
                expression = call(names[layer.kind], x, *self.told, to=to, act=layer.closed)
                x = lines.add(f"layer_{i}", expression)
            paths = [f"layer_{i}." for i in range(count)]
        pairs = enumerate(zip(self.layers, paths, strict=True))
        return x, [y for i, (layer, path) in pairs for y in layer.takes(path, self.theirs, i)]

    @property
    def least(self) -> str:
        """Points on each axis that its layers need."""
        return self.levels.least(self.layers)

    @property
    def spherical(self) -> bool:
        """Whether its domain is a sphere."""
        return self.layers[0].spherical

    def names(self) -> dict[Layer, str]:
        """A name for each kind of layer."""
        kinds = list(dict.fromkeys(x.kind for x in self.layers))
        if len(kinds) == 1:
            return {kinds[0]: f"{self.prefix}Layer"}
        return {x: f"{self.prefix}Layer{i + 1}" for i, x in enumerate(kinds)}


# --- what the options say --------------------------------------------------------------------


def snake(prefix: str) -> str:
    """`base_` of `Base`, as a node is named by its block."""
    return f"{prefix.lower()}_" if prefix else ""


def refuse(name: str, o: FNOOptions) -> None:
    """What has no counterpart.

    Raises:
        OpError: OP0641.
    """
    for key, known in (("norm", NORMS), ("fno_skip", SKIPS), ("channel_mlp_skip", SKIPS)):
        found = getattr(o, key)
        if found is not None and found not in known:
            raise not_importable(name, f"`{key} = {found}`", f"known: {', '.join(known)}")
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
    """What has no counterpart where the resolution changes.

    Raises:
        OpError: OP0641.
    """
    if not levels.any:
        return
    if any(padding(name, o, levels.axes)):
        raise not_importable(name, "`domain_padding` beside a change of resolution")
    skips = o.fno_skip is not None or (o.use_channel_mlp and o.channel_mlp_skip is not None)
    if levels.axes > 2 and skips and not corrected:
        # there the greatest frequency of a skip counts twice or on one side only
        raise not_importable(
            name,
            f"a change of resolution in {levels.axes} axes beside skips",
            "`--corrected` imports it exactly",
        )


def _refuse_complex(name: str, o: FNOOptions) -> None:
    if o.norm == "batch_norm":
        # a batch norm is trained by the real and the imaginary parts in turns there
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
    """Our word for an activation.

    Raises:
        OpError: OP0641.
    """
    found = ACTIVATIONS.get(str(word(kind)))
    if found is None:
        raise not_importable(
            name, f"the activation `{word(kind)}`", f"known: {', '.join(ACTIVATIONS)}"
        )
    return found


def grid(name: str, o: Any) -> Ends:
    """The ends of each axis, where coordinates stand beside the input.

    Raises:
        OpError: OP0641.
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
    """How each layer changes the resolution of each axis."""
    layers, axes = int(o.n_layers), len(o.n_modes)
    given = o.resolution_scaling_factor
    if given is None:
        return ((1.0,) * axes,) * layers
    return tuple(tuple(float(y) for y in each(x, axes)) for x in each(given, layers))


def padding(name: str, o: Any, axes: int) -> tuple[float, ...]:
    """The part of each axis that is added on both of its sides.

    Raises:
        OpError: OP0641.
    """
    # a tuple means no padding there, and nobody is told
    if o.domain_padding is None or isinstance(o.domain_padding, tuple):
        return (0.0,) * axes
    found = tuple(float(x) for x in each(o.domain_padding, axes))
    if len(found) != axes or min(found) < 0:
        raise not_importable(name, f"`domain_padding = {value(found)}` on {axes} axes")
    return found if sum(found) > 0 else (0.0,) * axes


def notes(o: FNOOptions, levels: Levels, *, corrected: bool) -> Iterator[str]:
    """What is wrong there, and what was done about it; what stands there by surprise."""
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
    """What happens to complex functions."""
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
    """What happens at a change of resolution."""
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
