"""CODANO: every variable is a group of tokens, and attention goes from token to token.

What comes in: the options of the constructor; `variable_ids` says which variables there are, since
a program has a number of channels. What goes out: a program with one block for each kind of layer.

Source: neuralop/models/codano.py and layers/coda_layer.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, lcm
from typing import Any

from pydantic import PositiveInt

from opdsl.migrate.neuralop.draft import (
    Draft,
    Options,
    Shapes,
    Take,
    not_importable,
    options_of,
    word,
)
from opdsl.migrate.neuralop.fno import activation, padding
from opdsl.migrate.neuralop.layer import NEWEST, SKIPS, Layer, kept_as
from opdsl.migrate.neuralop.levels import Levels, extension, levels_of
from opdsl.migrate.neuralop.writing import (
    AXES,
    Lines,
    block,
    call,
    mlp,
    several,
    shared,
    value,
    weight,
)

Numbers = tuple[int, ...]
MARK = "positional_encoding."


class CODANOOptions(Options):
    """The constructor of `CODANO`, and last the variables of its calls: their number or names."""

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


class LayerOptions(Options):
    """What `layer_kwargs` may hold: the arguments of `CODALayer` that its model does not give."""

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


@dataclass(frozen=True)
class Built:
    """A CODANO on its way to a program."""

    name: str
    o: CODANOOptions
    layer: LayerOptions
    shapes: Shapes
    corrected: bool

    @property
    def axes(self) -> int:
        """Of the grid."""
        return len(self.o.n_modes[0])

    @property
    def names(self) -> tuple[str, ...]:
        """Of the variables."""
        called = self.o.variables
        if isinstance(called, int):
            return tuple(f"v{i + 1}" for i in range(called))
        return called or self.o.variable_ids or ()

    @property
    def marked(self) -> tuple[str, ...]:
        """The variables that have a positional encoding."""
        own = tuple(x.removeprefix(MARK) for x in self.shapes if x.startswith(MARK))
        return own or self.o.variable_ids or ()

    @property
    def extended(self) -> int:
        """Channels of a variable with what is set beside it."""
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
        """The variables, and the CLASS function if there is one."""
        return len(self.names) + self.o.enable_cls_token

    @property
    def token(self) -> int:
        """Channels of a token."""
        return 1 if self.o.per_channel_attention else self.o.attention_token_dim

    @property
    def head(self) -> int:
        """Channels of a token in one head."""
        given = None if self.o.per_channel_attention else self.layer.head_codimension
        return self.token if given is None else given

    @property
    def tokens(self) -> int:
        """How many there are."""
        return self.functions * self.hidden // self.token

    @cached_property
    def padding(self) -> tuple[float, ...]:
        """The part of each axis that is added on both of its sides."""
        return padding(self.name, self.o, self.axes)

    @property
    def padded(self) -> bool:
        """Whether something is added."""
        return any(self.padding)

    @cached_property
    def multiple(self) -> int:
        """By what the points of the grid of the layers are divided."""
        return lcm(*self.levels.coarser, *map(self.coarser, range(self.o.n_layers)))

    @cached_property
    def step(self) -> int:
        """What the points of an axis are a multiple of, so that all its grids are whole."""
        if self.multiple == 1:
            return 1
        parts = [Fraction(x).limit_denominator(1000).denominator for x in self.padding]
        return self.multiple * lcm(*parts)

    @property
    def grid(self) -> str:
        """The domain of the layers."""
        return "E" if self.padded else "D"

    @cached_property
    def levels(self) -> Levels:
        """The grids between the layers."""
        given = self.o.per_layer_scaling_factors or ((1.0,) * self.axes,) * self.o.n_layers
        return levels_of(self.name, given, axes=self.axes)

    def domain(self, level: int) -> str:
        """The grid before layer `level`."""
        return self.levels.domain(level, self.grid)

    def coarser(self, i: int) -> int:
        """By what the grid of the scores of layer i is coarser than that of its input."""
        scale = (self.o.attention_scaling_factors or (1.0,) * self.o.n_layers)[i]
        found = 1 / Fraction(scale).limit_denominator(64)
        if found.denominator != 1:
            raise not_importable(self.name, f"`attention_scaling_factors` of {value(scale)}")
        return int(found)

    def heads(self, i: int) -> int:
        """Of layer i."""
        return (self.o.n_heads or (1,) * self.o.n_layers)[i]

    def operator(self, i: int, part: str, inward: int, out: int, index: int = 0) -> Layer:
        """A Fourier layer within layer i, the same for each token."""
        mixer = part == "mixer"
        return Layer(
            modes=self.o.n_modes[i],
            inward=inward,
            out=out,
            act=activation(self.name, self.o.non_linearity) if mixer else "identity",
            closing=mixer and index == 0,
            weights=kept_as(
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


def codano(name: str, o: CODANOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """The program of a CODANO.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    layer = options_of(LayerOptions, "CODALayer", (), o.layer_kwargs or {})
    built = Built(name, o, layer, shapes, corrected)
    refuse(built)
    lines = Lines()
    x = lifted(built, lines)
    x = lines.add("padded", call("pad", x, to="E")) if built.padded else x
    blocks = Blocks(built)
    x, takes = layered(built, blocks, lines, x)
    x = lines.add("cropped", call("crop", x, to="D")) if built.padded else x
    projected(built, lines, x)
    model = "\n".join(f"  {y}" for y in declared(built))
    text = [*blocks.texts, f"model {name} {{\n{model}\n\n{lines.text('y')}\n}}"]
    taken = (*lines.taken("y", "", ""), *takes)
    absent = tuple(f"{MARK}{y}" for y in built.marked if y not in built.names)
    return Draft("\n\n".join(text), taken, tuple(notes(built)), absent)


# --- what stands around the layers -----------------------------------------------------------


def declared(built: Built) -> Iterator[str]:
    """Domains, inputs, output."""
    o, step = built.o, built.step
    least = tuple(-(-n // step) * step for n in points(built))
    said = value(least[0]) if len(set(least)) == 1 else value(least)
    axes = ", ".join(f"{x}: 0..1" for x in AXES[: built.axes])
    steps = f", multiple_of = {step}" if step > 1 else ""
    yield f"domain D = grid({axes}, boundary = periodic, min = {said}{steps})"
    if built.padded:
        yield extension(built.padding)
    end = built.levels.domain(o.n_layers)
    yield f'input x : {built.levels.domain(0)} -> R^{len(built.names)} "{", ".join(built.names)}"'
    if o.static_channel_dim:
        yield f"input static_channel : {built.levels.domain(0)} -> R^{o.static_channel_dim}"
    each = o.output_variable_codimension if o.projection_channels else built.hidden
    count = len(built.names) if o.projection_channels else built.functions
    yield f"output y : {end} -> R^{each * count}"


def points(built: Built) -> Iterator[int]:
    """What every axis needs, on the finest grid."""
    for axis in range(built.axes):
        layers = [
            n[axis] * max(built.levels.coarser[i] * built.coarser(i), built.levels.coarser[i + 1])
            for i, n in enumerate(built.o.n_modes)
        ]
        part = Fraction(built.padding[axis]).limit_denominator(1000)
        # where it is rounded, there may be half a point less on each side
        rounded = built.multiple == 1 and part > 0
        inner = ceil((max(layers) + rounded) / (1 + 2 * part))
        yield max(inner, *(series_points(modes)[axis] for modes in all_series(built)), 1)


def all_series(built: Built) -> list[Numbers]:
    """The frequencies of each kind of series, counted."""
    found = [built.o.n_modes[0]] if built.o.enable_cls_token else []
    return [*found, encoding(built)] if built.o.use_positional_encoding else found


def series_points(counts: Numbers) -> Numbers:
    """What a series with frequencies from 0 on asks of each axis."""
    return (*counts[:-1], 2 * counts[-1] - 1)


def encoding(built: Built) -> Numbers:
    """Frequencies of a positional encoding; there the last number is halved."""
    *full, last = built.o.positional_encoding_modes or ()
    return (*full, last // 2)


def series(built: Built, out: int, counts: Numbers) -> str:
    """A trained function, with the frequencies 0 ... count - 1 of each axis."""
    modes = tuple(n - 1 for n in counts)
    faults = None if built.corrected else NEWEST
    domain = built.levels.domain(0)
    return call("series", domain, out=out, modes=modes, layout="neuralop", faults=faults)


def lifted(built: Built, lines: Lines) -> str:
    """The variables, each with what is set beside it, at their hidden width."""
    o, x = built.o, "x"
    count = len(built.names)
    marks = []
    if o.use_positional_encoding:
        for i, name in enumerate(built.names):
            made = series(built, o.positional_encoding_dim, encoding(built))
            marks.append(lines.add(f"mark_{i}", made, weight(f"{MARK}{name}", "series")))
    if built.extended > 1:
        also = ["static_channel"] if o.static_channel_dim else []
        parts = [y for i in range(count) for y in (f"x[{i}]", *also, *marks[i : i + 1])]
        x = lines.add("placed", call("concat", *parts))
    if o.lifting_channels is not None:
        sizes = (o.lifting_channels, built.hidden)
        x = mlp(lines, "lift", x, sizes, "gelu", "lifting.", copies=count)
    if o.enable_cls_token:
        made = series(built, built.hidden, o.n_modes[0])
        cls = lines.add("class", made, weight("cls_token", "series"))
        x = lines.add("tokens", call("concat", cls, x))
    return x


def projected(built: Built, lines: Lines, x: str) -> None:
    """The variables without the CLASS function, at their last width."""
    o = built.o
    if o.projection_channels is None:
        lines.add("result", x)
        return
    if o.enable_cls_token:
        x = lines.add("variables", f"{x}[{built.hidden}..{built.functions * built.hidden}]")
    sizes = (o.projection_channels, o.output_variable_codimension)
    mlp(lines, "project", x, sizes, "gelu", "projection.", copies=len(built.names))


def layered(built: Built, blocks: Blocks, lines: Lines, x: str) -> tuple[str, list[Take]]:
    """The layers, with the skips between them."""
    takes: list[Take] = []
    skips = built.o.horizontal_skips_map or {}
    for i in range(built.o.n_layers):
        if i in skips:
            x = joined(built, lines, x, i, skips[i])
        to = built.domain(i + 1) if built.levels.changes(i) else None
        k = built.levels.coarser[i] * built.coarser(i)
        coarse = f"{built.grid} / {k}" if built.coarser(i) > 1 else None
        x = lines.add(f"layer_{i}", call(blocks.of(i), x, to=to, coarse=coarse))
        takes += blocks.takes(i)
    return x, takes


def joined(built: Built, lines: Lines, x: str, i: int, source: int) -> str:
    """W (x, t) with the result t of an earlier layer, for each variable."""
    t, hidden, n = f"layer_{source}", built.hidden, built.functions
    if built.levels.coarser[source + 1] != built.levels.coarser[i]:
        kind = None if built.corrected else "cubic"
        t = lines.add(f"skip_{i}", call("resample", t, to=built.domain(i), kind=kind))
    theirs = f"skip_map_module.{i}.fcs.0."
    first = call("linear", x, out=hidden, copies=several(n))
    bias = weight(theirs + "bias", ours="bias")
    a = lines.add(
        f"own_{i}", first, *shared(n, weight(theirs + "weight", "first_half"), bias)
    )  # fmt: skip
    second = call("linear", t, out=hidden, copies=several(n), bias=False)
    b = lines.add(
        f"other_{i}", second, *shared(n, weight(theirs + "weight", "second_half"))
    )  # fmt: skip
    return lines.add(f"joined_{i}", f"{a} + {b}")


# --- the layers ------------------------------------------------------------------------------


class Blocks:
    """The definitions of all layers, each kind once.

    Attributes:
        texts: of the definitions, those that others need first.
    """

    def __init__(self, built: Built) -> None:
        self.built = built
        self.texts: list[str] = []
        self.operators: dict[Layer, str] = {}
        self.bodies: dict[str, str] = {}

    def of(self, i: int) -> str:
        """The name of the block of layer i."""
        text = self._definition(i)
        if text not in self.bodies:
            self.bodies[text] = f"CodaLayer{len(self.bodies) + 1}"
            self.texts.append(text.replace(PLACE, self.bodies[text], 1))
        return self.bodies[text]

    def takes(self, i: int) -> Iterator[Take]:
        """The weights of layer i."""
        theirs = f"attention_layers.{i}."
        yield from self._lines(i).taken("w", f"layer_{i}.", theirs)
        for ours, part, layer, index in self._parts(i):
            yield from layer.takes(f"layer_{i}.{ours}.", f"{theirs}{part}.", index)

    def _definition(self, i: int) -> str:
        built = self.built
        channels = built.functions * built.hidden
        changes = built.levels.changes(i)
        ports = [
            "domain D : grid",
            *(["domain to : grid = D"] if changes else []),
            *(["domain coarse : grid = D"] if built.coarser(i) > 1 else []),
            f"input v : D -> R^{channels}",
            f"output w : {'to' if changes else 'D'} -> R^{channels}",
        ]
        text = self._lines(i).text("w")
        return block(PLACE, "one layer of neuraloperator's CODANO", ports, text)

    def _operator(self, layer: Layer) -> str:
        if layer.kind not in self.operators:
            name = f"Operator{len(self.operators) + 1}"
            self.operators[layer.kind] = name
            self.texts.append(layer.kind.definition(name))
        return self.operators[layer.kind]

    def _parts(self, i: int) -> Iterator[tuple[str, str, Layer, int]]:
        """The Fourier layers: their name here and there, and which of several it is."""
        built = self.built
        token, wide = built.token, built.heads(i) * built.head
        for ours, part in (("key", "Key"), ("query", "Query"), ("value", "Value")):
            yield ours, part, built.operator(i, part, token, wide), 0
        if wide != token:
            yield "one", "multi_head_proj", built.operator(i, "multi_head_proj", wide, token), 0
        for index in (0, 1):
            layer = built.operator(i, "mixer", token, token, index)
            yield f"mixed_{index}", "mixer", layer, index

    def _lines(self, i: int) -> Lines:
        built, lines = self.built, Lines()
        parts = {ours: layer for ours, _, layer, _ in self._parts(i)}

        def operate(ours: str, x: str) -> str:
            layer = parts[ours]
            to = "coarse" if layer.changes else None
            return lines.add(ours, call(self._operator(layer), x, to=to, act=layer.closed))

        n = self._normed(lines, "n", "v", "norm1")
        seen = call(
            "codomain_attention",
            *(operate(x, n) for x in ("query", "key", "value")),
            variables=built.tokens,
            heads=several(built.heads(i)),
            temperature=None if built.layer.temperature == 1 else float(built.layer.temperature),
            faults=None if built.corrected else NEWEST,
        )
        x = lines.add("seen", seen)
        x = operate("one", x) if "one" in parts else x
        a = self._normed(lines, "a", lines.add("sum", f"{x} + v"), "attention_normalizer")
        m = self._normed(lines, "m", a, "mixer_in_normalizer")
        m = operate("mixed_1", operate("mixed_0", m))
        m = self._normed(lines, "z", m, "mixer_out_normalizer")
        result = lines.add("both", f"{m} + {a}")
        if built.levels.changes(i):
            kind = None if built.corrected else "cubic"
            lines.add("moved", call("resample", result, to="to", kind=kind))
        return lines

    def _normed(self, lines: Lines, name: str, x: str, theirs: str) -> str:
        """Each channel of a token by itself, with constants that all tokens share."""
        built = self.built
        if built.layer.norm is None:
            return x
        expression = call(
            "norm", x, kind="group", groups=several(built.token), copies=several(built.tokens)
        )
        takes = (weight(f"{theirs}.{y}", ours=y) for y in ("weight", "bias"))
        return lines.add(name, expression, *shared(built.tokens, *takes))


PLACE = "CodaLayer"  # in place of a name that is not known yet


# --- what the options say --------------------------------------------------------------------


def refuse(built: Built) -> None:
    """What has no counterpart.

    Raises:
        OpError: OP0641.
    """
    for what, helps in _refused(built.o, built.layer, built):
        raise not_importable(built.name, what, *helps)


def _refused(
    o: CODANOOptions, layer: LayerOptions, built: Built
) -> Iterator[tuple[str, list[str]]]:
    if not built.names:
        helps = [
            "neuraloperator takes any number of variables, a program says how many",
            "give `--variables 3`, in Python `variables=3`",
        ]
        yield "an unknown number of variables: `variable_ids` is not given", helps
    strange = [x for x in built.names if x not in built.marked] if o.use_positional_encoding else []
    if strange:
        known = ", ".join(built.marked)
        yield (
            f"the variable `{strange[0]}`, which has no positional encoding",
            [f"name variables that have one: {known}"],
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
    known: dict[str, tuple[object, ...]] = {
        "norm": (None, "instance_norm"),
        "fno_skip": (None, *SKIPS),
        "channel_mlp_skip": (None, *SKIPS),
        "preactivation": (False,),
        "joint_factorization": (False,),
        "permutation_eq": (True,),
    }
    for key, values in known.items():
        if getattr(layer, key) not in values:
            helps = [f"known: {', '.join(map(str, values))}"]
            yield f"`{key} = {getattr(layer, key)}` of its layers", helps


def _refused_changes(built: Built) -> Iterator[tuple[str, list[str]]]:
    moved = built.levels.any or any(built.coarser(i) > 1 for i in range(built.o.n_layers))
    if moved and built.axes > 2 and not built.corrected:
        yield "a change of resolution in three axes", ["`--corrected` imports it exactly"]
    ends = {built.levels.coarser[0], built.levels.coarser[-1]}
    if built.padded and built.levels.any and ends != {1}:
        yield "padding and an output on another grid, or layers on a finer one", []


def notes(built: Built) -> Iterator[str]:
    """What is wrong there, and what was done about it."""
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


def codano_arguments(module: Any) -> dict[str, Any]:
    """The constructor's arguments of a CODANO, which keeps only some of them."""
    kept = (
        "n_layers", "n_modes", "n_heads", "non_linearity", "enable_cls_token", "variable_ids",
        "static_channel_dim", "layer_kwargs", "use_positional_encoding", "horizontal_skips_map",
        "use_horizontal_skip_connection", "output_variable_codimension",
    )  # fmt: skip
    first = module.attention_layers[0]
    modes = module.positional_encoding_modes
    given = module.layer_kwargs | {"head_codimension": first.head_codimension}
    return {x: getattr(module, x) for x in kept} | {
        "per_layer_scaling_factors": module.per_layer_scale_factors,
        "attention_scaling_factors": module.attention_scalings,
        "positional_encoding_dim": module.positional_encoding_dim,
        # it has halved the last one, in the list of its caller too
        "positional_encoding_modes": None if modes is None else (*modes[:-1], 2 * modes[-1]),
        "hidden_variable_codimension": module.hidden_variable_codimension,
        "lifting_channels": module.lifting.hidden_channels if module.lifting else None,
        "projection_channels": module.projection.hidden_channels if module.projection else None,
        "attention_token_dim": first.token_codimension,
        "layer_kwargs": given,
        "conv_module": type(first.Key.convs[0]),
        "domain_padding": _padding(module),
    }


def _padding(module: Any) -> Any:
    return None if module.domain_padding is None else module.domain_padding.domain_padding
