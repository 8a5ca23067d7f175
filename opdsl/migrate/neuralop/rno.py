"""RNO: a recurrence of Fourier layers, one step of which is the program.

What theirs makes of a sequence is `module.rollout(times, x = sequence, s1 = None, ...)` here.

Source: neuralop/models/rno.py and layers/rno_block.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opdsl.migrate.neuralop.draft import Draft, Options, Shapes, Take, not_importable, word
from opdsl.migrate.neuralop.fno import Numbers, activation, grid, notes, padding, refuse
from opdsl.migrate.neuralop.layer import Layer, kept_as
from opdsl.migrate.neuralop.levels import levels_of
from opdsl.migrate.neuralop.writing import Lines, block, call, mlp, weight

GATES = ("update", "reset", "candidate")
STATES = "what `init_hidden_states` is there is s1, s2, ... here, less the trained first value"
PREDICT = (
    "with `rno_skip` its `predict` goes on from states to which the skip was added; here a state "
    "is the state"
)


class RNOOptions(Options):
    """The constructor of `RNO`."""

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
        """Of its Fourier layers, which have no choice."""
        return 1


def rno(name: str, o: RNOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """The program of an RNO: one step, whose states come back.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    _refuse(name, o)
    layer = _layer(name, o, shapes)
    levels = levels_of(name, ((1.0,) * len(o.n_modes),) * o.n_layers, axes=len(o.n_modes))
    cell = _cell(layer)
    lines, takes = _body(name, o, cell, layer)
    ends, around = grid(name, o), padding(name, o, len(o.n_modes))
    ports = [*levels.declaration((layer,), ends, around), *_ports(o, padded=any(around))]
    body = "\n".join(f"  {x}" for x in ports)
    texts = [
        layer.definition("Layer"),
        _definition(cell, o.hidden_channels),
        f"model {name} {{\n{body}\n\n{lines.text('y')}\n}}",
    ]
    told = (STATES, *([PREDICT] if o.rno_skip else []))
    more = notes(o, levels, corrected=corrected)  # type: ignore[arg-type]  # it has what they read
    return Draft("\n\n".join(texts), (*lines.taken("y", "", ""), *takes), (*told, *more))


def _refuse(name: str, o: RNOOptions) -> None:
    """What has no counterpart.

    Raises:
        OpError: OP0641.
    """
    refuse(name, o)  # type: ignore[arg-type]  # it has what they read
    if o.return_sequences:
        raise not_importable(
            name, "`return_sequences = True`, which ends in an error there", "`rollout` has them"
        )
    if o.resolution_scaling_factor:
        raise not_importable(name, "`resolution_scaling_factor`")
    if o.complex_data:
        raise not_importable(name, "`complex_data = True`")
    if word(o.conv_module) not in (None, "SpectralConv"):
        raise not_importable(name, f"`conv_module = {word(o.conv_module)}`")


def _layer(name: str, o: RNOOptions, shapes: Shapes) -> Layer:
    """The Fourier layer of which a cell has six."""
    c = o.hidden_channels
    return Layer(
        modes=o.n_modes,
        inward=c,
        out=c,
        act=activation(name, o.non_linearity),
        closing=False,
        weights=kept_as(name, o, shapes, "layers.0.cell.input_gates.0.convs.0.weight."),
        fno_skip=o.fno_skip,
        mlp=round(c * o.channel_mlp_expansion) if o.use_channel_mlp else None,
        mlp_skip=o.channel_mlp_skip,
        dropout=o.channel_mlp_dropout,
        norm=o.norm,
        groups=o.norm_groups,
        stabilizer=o.stabilizer == "tanh",
        preactivation=o.preactivation,
    )


def _ports(o: RNOOptions, *, padded: bool) -> Iterator[str]:
    """Functions go in and come out, states too."""
    home, count = "E" if padded else "D", range(1, o.n_layers + 1)
    yield f"input x : D -> R^{o.in_channels}"
    yield from (f"input s{i} : {home} -> R^{o.hidden_channels}" for i in count)
    yield f"output y : D -> R^{o.out_channels}"
    yield from (f"output t{i} : {home} -> R^{o.hidden_channels}" for i in count)
    if o.in_channels == o.out_channels:
        yield "feedback y -> x"
    yield from (f"feedback t{i} -> s{i}" for i in count)


def _body(name: str, o: RNOOptions, cell: Lines, layer: Layer) -> tuple[Lines, list[Take]]:
    """The lines of the model, the last of which is the output, and the weights of its cells."""
    c, act, x = o.hidden_channels, activation(name, o.non_linearity), "x"
    lines, padded = Lines(), any(padding(name, o, len(o.n_modes)))
    takes: list[Take] = []
    if grid(name, o) is not None:
        x = lines.add("placed", call("concat", x, call("coords", "D")))
    wide = int(o.lifting_channel_ratio * c)
    x = mlp(lines, "lift", x, (wide, c) if wide else (c,), act, "lifting.")
    x = lines.add("padded", call("pad", x, to="E")) if padded else x
    for i in range(o.n_layers):
        n, theirs = i + 1, f"layers.{i}."
        constant = call("constant", "E" if padded else "D", out=c, alike=True)
        first = lines.add(f"b{n}", constant, weight(f"{theirs}bias_h", "flat", "bias"))
        h = lines.add(f"h{n}", call("Cell", x, f"s{n} + {first}"))
        takes += _takes(cell, layer, f"h{n}.", f"{theirs}cell.")
        lines.add(f"t{n}", f"{h} - {first}")
        last = i == o.n_layers - 1
        x = lines.add(f"x{n}", f"{x} + {h}") if o.rno_skip and not last else h
    x = lines.add("cropped", call("crop", x, to="D")) if padded else x
    sizes = (int(o.projection_channel_ratio * c), o.out_channels)
    mlp(lines, "project", x, sizes, act, "projection.")
    return lines, takes


def _cell(layer: Layer) -> Lines:
    """One step of a gated unit; the weights of its layers are told by `_takes`."""
    lines = Lines()
    for i, (gate, act) in enumerate(zip(GATES, ("sigmoid", "sigmoid", "selu"), strict=True)):
        state = lines.add("kept", "reset * h") if gate == "candidate" else "h"
        parts = [
            lines.add(f"{gate}_x", call("Layer", "x", act=layer.closed)),
            lines.add(f"{gate}_h", call("Layer", state, act=layer.closed)),
            lines.add(
                f"{gate}_b",
                call("constant", "D", out=layer.out, alike=True),
                weight(f"biases.{i}", "flat", "bias"),
            ),
        ]
        lines.add(gate, call("apply", " + ".join(parts), act))
    lines.add("next", "h - update * h + update * candidate")
    return lines


def _definition(cell: Lines, channels: int) -> str:
    ports = ["domain D : grid", *(f"input {x} : D -> R^{channels}" for x in ("x", "h"))]
    ports.append(f"output w : D -> R^{channels}")
    return block("Cell", "one step of neuraloperator's RNOCell", ports, cell.text("w"))


def _takes(cell: Lines, layer: Layer, path: str, theirs: str) -> Iterator[Take]:
    """The weights of a cell at `path` here and at `theirs` there."""
    yield from cell.taken("w", path, theirs)
    for i, gate in enumerate(GATES):
        for source, side in (("x", "input"), ("h", "hidden")):
            yield from layer.takes(f"{path}{gate}_{source}.", f"{theirs}{side}_gates.{i}.")
