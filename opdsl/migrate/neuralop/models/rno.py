"""RNO: a recurrence of Fourier layers, one step of which is the program.

A sequence is processed by `module.rollout(times, x = sequence)`.

Source: neuralop/models/rno.py and layers/rno_block.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from opdsl.migrate.neuralop.draft import (
    ConstructorOptions,
    Draft,
    Shapes,
    WeightSource,
    not_importable,
    word,
)
from opdsl.migrate.neuralop.layer import Layer
from opdsl.migrate.neuralop.layer_weights import stored_weights
from opdsl.migrate.neuralop.levels import Levels, levels_of
from opdsl.migrate.neuralop.models.fno_options import (
    Numbers,
    activation,
    grid,
    notes,
    padding,
    refuse,
    refuse_changes,
    scalings,
)
from opdsl.migrate.neuralop.writing import Lines, block, call, mlp, weight

GATES = ("update", "reset", "candidate")
STATES = "what `init_hidden_states` is there is s1, s2, ... here, less the trained first value"
PREDICT = (
    "with `rno_skip` its `predict` goes on from states to which the skip was added; here a state "
    "is the state"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One step of a gated recurrent unit.

    Attributes:
        state: the Fourier layer of a gate that acts on the state.
        gate: the Fourier layer of a gate that acts on the input, and maps to the grid of the state.
    """

    state: Layer
    gate: Layer

    @property
    def changes(self) -> bool:
        """Whether the state has another grid than the input."""
        return self.gate.changes

    @property
    def name(self) -> str:
        """Name of the block."""
        return "CellTo" if self.changes else "Cell"

    def definition(self) -> str:
        """Write the definition of the block."""
        c, home = self.state.out, "to" if self.changes else "D"
        ports = [
            "domain D : grid",
            *(["domain to : grid = D"] if self.changes else []),
            f"input x : D -> R^{c}",
            f"input h : {home} -> R^{c}",
            f"output w : {home} -> R^{c}",
        ]
        return block(
            self.name, "one step of neuraloperator's RNOCell", ports, self._lines.text("w")
        )

    def takes(self, path: str, theirs: str) -> Iterator[WeightSource]:
        """Yield the sources of the weights of a cell at `path` here and at `theirs` there."""
        yield from self._lines.taken("w", path, theirs)
        for i, gate in enumerate(GATES):
            for layer, source, side in ((self.gate, "x", "input"), (self.state, "h", "hidden")):
                yield from layer.takes(f"{path}{gate}_{source}.", f"{theirs}{side}_gates.{i}.")

    @property
    def _lines(self) -> Lines:
        lines, home = Lines(), "to" if self.changes else "D"
        for i, (gate, act) in enumerate(zip(GATES, ("sigmoid", "sigmoid", "selu"), strict=True)):
            state = lines.add("kept", "reset * h") if gate == "candidate" else "h"
            to = "to" if self.changes else None
            inward = call(_layer_name(self.gate), "x", to=to, act=self.gate.closed)
            parts = [
                lines.add(f"{gate}_x", inward),
                lines.add(f"{gate}_h", call("Layer", state, act=self.state.closed)),
                lines.add(
                    f"{gate}_b",
                    call("constant", home, out=self.state.out, alike=True),
                    weight(f"biases.{i}", "flat", "bias"),
                ),
            ]
            lines.add(gate, call("apply", " + ".join(parts), act))
        lines.add("next", "h - update * h + update * candidate")
        return lines


class RNOOptions(ConstructorOptions):
    """Arguments of the constructor of `RNO`."""

    n_modes: Numbers
    in_channels: int
    out_channels: int
    hidden_channels: int
    n_layers: int = 4
    rno_skip: bool = False
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
    return_sequences: bool = False
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

    @property
    def conv_bias_kernel(self) -> int:
        """Kernel size of the skips of its Fourier layers, which is not an argument."""
        return 1


def rno(name: str, o: RNOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """Write the program of an RNO: one step, with feedback of its states.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    _refuse(name, o)
    layer = _layer(name, o, shapes)
    levels = levels_of(name, scalings(o), axes=len(o.n_modes))
    cells = [
        Cell(layer, replace(layer, changes=levels.changes(i), wrong=not corrected))
        for i in range(o.n_layers)
    ]
    ends, fractions = grid(name, o), padding(name, o, len(o.n_modes))
    refuse_changes(name, o, levels, corrected=corrected)
    _refuse_skips(name, o, levels)
    places = _places(o, levels, padded=any(fractions))
    lines, takes = _body(name, o, cells, levels, places)
    layers = (layer,) * o.n_layers
    ports = [*levels.declaration(layers, ends, fractions), *_ports(o, levels, places)]
    body = "\n".join(f"  {x}" for x in ports)
    gates = [layer, *dict.fromkeys(x.gate for x in cells if x.changes)]
    texts = [
        *(x.definition(_layer_name(x)) for x in gates),
        *(x.definition() for x in dict.fromkeys(cells)),
        f"model {name} {{\n{body}\n\n{lines.text('y')}\n}}",
    ]
    messages = (STATES, *([PREDICT] if o.rno_skip else []))
    other_messages = notes(o, levels, corrected=corrected)  # type: ignore[arg-type]  # it has what they read
    return Draft(
        "\n\n".join(texts), (*lines.taken("y", "", ""), *takes), (*messages, *other_messages)
    )


def _refuse(name: str, o: RNOOptions) -> None:
    """Refuse options that have no counterpart.

    Raises:
        OpError: OP0641.
    """
    refuse(name, o)  # type: ignore[arg-type]  # it has what they read
    if o.return_sequences:
        raise not_importable(
            name, "`return_sequences = True`, which ends in an error there", "`rollout` has them"
        )
    if o.complex_data:
        raise not_importable(
            name, "`complex_data = True`, whose gates are logistic functions of complex numbers"
        )
    if word(o.conv_module) not in (None, "SpectralConv"):
        raise not_importable(name, f"`conv_module = {word(o.conv_module)}`")


def _refuse_skips(name: str, o: RNOOptions, levels: Levels) -> None:
    if o.rno_skip and any(levels.changes(i) for i in range(o.n_layers - 1)):
        raise not_importable(
            name, "`rno_skip = True` beside a change of resolution, which ends in an error there"
        )


def _places(o: RNOOptions, levels: Levels, *, padded: bool) -> list[str]:
    """Name the domain of each state."""
    return ["E" if padded else levels.domain(i + 1) for i in range(o.n_layers)]


def _layer_name(layer: Layer) -> str:
    return "LayerTo" if layer.changes else "Layer"


def _layer(name: str, o: RNOOptions, shapes: Shapes) -> Layer:
    """Return the Fourier layer of which a cell has six, without a change of resolution."""
    c = o.hidden_channels
    return Layer(
        modes=o.n_modes,
        inward=c,
        out=c,
        act=activation(name, o.non_linearity),
        closing=False,
        weights=stored_weights(name, o, shapes, "layers.0.cell.input_gates.0.convs.0.weight."),
        fno_skip=o.fno_skip,
        mlp=round(c * o.channel_mlp_expansion) if o.use_channel_mlp else None,
        mlp_skip=o.channel_mlp_skip,
        dropout=o.channel_mlp_dropout,
        norm=o.norm,
        groups=o.norm_groups,
        stabilizer=o.stabilizer == "tanh",
        preactivation=o.preactivation,
    )


def _ports(o: RNOOptions, levels: Levels, places: list[str]) -> Iterator[str]:
    """Yield the declarations of inputs, outputs and the feedback between them."""
    first, last, c = levels.domain(0), levels.domain(o.n_layers), o.hidden_channels
    yield f"input x : {first} -> R^{o.in_channels}"
    yield from (f"input s{i} : {home} -> R^{c}" for i, home in enumerate(places, 1))
    yield f"output y : {last} -> R^{o.out_channels}"
    yield from (f"output t{i} : {home} -> R^{c}" for i, home in enumerate(places, 1))
    if o.in_channels == o.out_channels and first == last:
        yield "feedback y -> x"
    yield from (f"feedback t{i} -> s{i}" for i in range(1, o.n_layers + 1))


def _body(
    name: str, o: RNOOptions, cells: list[Cell], levels: Levels, places: list[str]
) -> tuple[Lines, list[WeightSource]]:
    """Write the lines of the model, the last of which is the output, and sources of weights."""
    c, act, x = o.hidden_channels, activation(name, o.non_linearity), "x"
    lines, padded = Lines(), any(padding(name, o, len(o.n_modes)))
    takes: list[WeightSource] = []
    if grid(name, o) is not None:
        x = lines.add("placed", call("concat", x, call("coords", levels.domain(0))))
    wide = int(o.lifting_channel_ratio * c)
    x = mlp(lines, "lift", x, (wide, c) if wide else (c,), act, "lifting.")
    x = lines.add("padded", call("pad", x, to="E")) if padded else x
    for i in range(o.n_layers):
        n, theirs = i + 1, f"layers.{i}."
        cell, place = cells[i], places[i]
        constant = call("constant", place, out=c, alike=True)
        first = lines.add(f"b{n}", constant, weight(f"{theirs}bias_h", "flat", "bias"))
        to = place if cell.changes else None
        h = lines.add(f"h{n}", call(cell.name, x, f"s{n} + {first}", to=to))
        takes += cell.takes(f"h{n}.", f"{theirs}cell.")
        lines.add(f"t{n}", f"{h} - {first}")
        last = i == o.n_layers - 1
        x = lines.add(f"x{n}", f"{x} + {h}") if o.rno_skip and not last else h
    x = lines.add("cropped", call("crop", x, to="D")) if padded else x
    sizes = (int(o.projection_channel_ratio * c), o.out_channels)
    mlp(lines, "project", x, sizes, act, "projection.")
    return lines, takes
