"""FNO and TFNO, and SFNO, which is FNO with another convolution.

Source: neuralop/models/fno.py, sfno.py at 93d3f06.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from opdsl.migrate.neuralop.draft import Draft, Shapes, WeightSource, word
from opdsl.migrate.neuralop.layer import Layer, network
from opdsl.migrate.neuralop.layer_weights import stored_weights
from opdsl.migrate.neuralop.levels import Ends, Levels, levels_of
from opdsl.migrate.neuralop.models.fno_options import (
    FNOOptions,
    Numbers,
    activation,
    grid,
    notes,
    padding,
    refuse,
    refuse_changes,
    scalings,
)
from opdsl.migrate.neuralop.writing import Lines, call


def fno(name: str, o: FNOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """Write the program of an FNO.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    levels = levels_of(name, scalings(o), axes=len(o.n_modes))
    messages = tuple(notes(o, levels, corrected=corrected))
    return stack_of(name, o, shapes, corrected=corrected).draft(messages)


def stack_of(name: str, o: FNOOptions, shapes: Shapes, *, corrected: bool) -> Stack:
    """Build the parts of an FNO from its options.

    Raises:
        OpError: OP0641, an option that has no counterpart.
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
    """Return layer `i`, without a change of resolution."""
    c, theirs = o.hidden_channels, f"fno_blocks.convs.{i}.weight."
    return Layer(
        modes=o.n_modes,
        inward=c,
        out=c,
        # neuraloperator uses gelu in layers of complex functions, whatever the option says
        act="gelu" if o.complex_data else activation(name, o.non_linearity),
        closing=i < o.n_layers - 1,
        weights=stored_weights(name, o, shapes, theirs),
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
    """An FNO: a lifting, a stack of layers and a projection.

    Attributes:
        inward, out: input and output channels.
        ends: ends of each axis if coordinates are concatenated to the input, else None.
        lifting, projection: widths of the layers of these MLPs.
        act: activation of these MLPs.
        padding: fraction of each axis that is added on both of its sides.
        prefix: prefix of the names of its blocks.
        theirs: prefix of the names of neuraloperator's weights of the layers.
        conditions: names of the vectors that every layer takes besides its function.
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
    conditions: tuple[str, ...] = ()

    def draft(self, notes: tuple[str, ...]) -> Draft:
        """Write the program."""
        lines, takes = self.body()
        blocks = [x.definition(name) for x, name in self.names().items()]
        ports = [*self.levels.declaration(self.layers, self.ends, self.padding), *self.ports()]
        body = "\n".join(f"  {x}" for x in ports)
        model = f"model {self.name} {{\n{body}\n\n{lines.text('y')}\n}}"
        return Draft("\n\n".join([*blocks, model]), (*lines.taken("y", "", ""), *takes), notes)

    def ports(self) -> list[str]:
        """Write the declarations of the input and the output."""
        return [
            f"input x : {self.levels.domain(0)} -> {self.field}^{self.inward}",
            f"output y : {self.levels.domain(len(self.layers))} -> {self.field}^{self.out}",
        ]

    def body(self) -> tuple[Lines, list[WeightSource]]:
        """Write the lines, the last of which is the output; return sources of layer weights too."""
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
        """Concatenate the coordinates to the input, if any, and split complex functions."""
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
        """Field of the values of inputs and outputs: `R` or `C`."""
        return "C" if self.complex else "R"

    def stacked(
        self, lines: Lines, x: str, names: dict[Layer, str]
    ) -> tuple[str, list[WeightSource]]:
        """Add the layers: a repeat where all are of one kind, else one line for each."""
        count = len(self.layers)
        alike = len(names) == 1 and not self.layers[0].preactivation
        if alike and count > 1 and not self.levels.any:
            act = self.layers[0].act
            closing = f"if i < {count - 1} then {act} else identity"
            body = call(f"{self.prefix}Layer", *self.conditions, act=closing)
            x = lines.add("layers", f"{x} |> repeat {count} as i {{ {body} }}")
            paths = [f"layers.repeat.{i}.{snake(self.prefix)}layer." for i in range(count)]
        else:
            for i, layer in enumerate(self.layers):
                to = self.levels.domain(i + 1) if layer.changes else None
                expression = call(names[layer.kind], x, *self.conditions, to=to, act=layer.closed)
                x = lines.add(f"layer_{i}", expression)
            paths = [f"layer_{i}." for i in range(count)]
        pairs = enumerate(zip(self.layers, paths, strict=True))
        return x, [y for i, (layer, path) in pairs for y in layer.takes(path, self.theirs, i)]

    @property
    def least(self) -> str:
        """Number of points on each axis that the layers need, as a setting."""
        return self.levels.least(self.layers)

    @property
    def spherical(self) -> bool:
        """Whether its domain is a sphere."""
        return self.layers[0].spherical

    def names(self) -> dict[Layer, str]:
        """Name each kind of layer."""
        kinds = list(dict.fromkeys(x.kind for x in self.layers))
        if len(kinds) == 1:
            return {kinds[0]: f"{self.prefix}Layer"}
        return {x: f"{self.prefix}Layer{i + 1}" for i, x in enumerate(kinds)}


def snake(prefix: str) -> str:
    """Convert a prefix of blocks to that of nodes: `Base` -> `base_`."""
    return f"{prefix.lower()}_" if prefix else ""
