"""CODANO: every variable is a group of tokens, and attention mixes the tokens.

A program has a fixed number of channels, so `variable_ids` says which variables there are. The
program has one block for each kind of layer.

Source: neuralop/models/codano.py and layers/coda_layer.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil

from opdsl.migrate.neuralop.draft import Draft, Shapes, WeightSource, options_of
from opdsl.migrate.neuralop.layer_weights import NEWEST
from opdsl.migrate.neuralop.levels import extension
from opdsl.migrate.neuralop.models.codano_layers import Blocks
from opdsl.migrate.neuralop.models.codano_options import CODANOOptions, LayerOptions, Numbers
from opdsl.migrate.neuralop.models.codano_spec import (
    MARK,
    CODANOSpec,
    all_series,
    encoding,
    notes,
    refuse,
)
from opdsl.migrate.neuralop.writing import (
    AXES,
    Lines,
    call,
    mlp,
    several,
    shared,
    value,
    weight,
)


def codano(name: str, o: CODANOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """Write the program of a CODANO.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    layer = options_of(LayerOptions, "CODALayer", (), o.layer_kwargs or {})
    spec = CODANOSpec(name, o, layer, shapes, corrected)
    refuse(spec)
    lines = Lines()
    x = lifted(spec, lines)
    x = lines.add("padded", call("pad", x, to="E")) if spec.padded else x
    blocks = Blocks(spec)
    x, takes = layered(spec, blocks, lines, x)
    x = lines.add("cropped", call("crop", x, to="D")) if spec.padded else x
    projected(spec, lines, x)
    model = "\n".join(f"  {y}" for y in declared(spec))
    text = [*blocks.texts, f"model {name} {{\n{model}\n\n{lines.text('y')}\n}}"]
    sources = (*lines.taken("y", "", ""), *takes)
    absent = tuple(f"{MARK}{y}" for y in spec.marked if y not in spec.names)
    return Draft("\n\n".join(text), sources, tuple(notes(spec)), absent)


# --- declarations, lifting and projection ----------------------------------------------------


def declared(built: CODANOSpec) -> Iterator[str]:
    """Yield the declarations of domains, inputs and the output."""
    o, step = built.o, built.step
    least = tuple(-(-n // step) * step for n in points(built))
    minimum = value(least[0]) if len(set(least)) == 1 else value(least)
    axes = ", ".join(f"{x}: 0..1" for x in AXES[: built.axes])
    steps = f", multiple_of = {step}" if step > 1 else ""
    yield f"domain D = grid({axes}, boundary = periodic, min = {minimum}{steps})"
    if built.padded:
        yield extension(built.padding)
    end = built.levels.domain(o.n_layers)
    yield f'input x : {built.levels.domain(0)} -> R^{len(built.names)} "{", ".join(built.names)}"'
    if o.static_channel_dim:
        yield f"input static_channel : {built.levels.domain(0)} -> R^{o.static_channel_dim}"
    width = o.output_variable_codimension if o.projection_channels else built.hidden
    count = len(built.names) if o.projection_channels else built.functions
    yield f"output y : {end} -> R^{width * count}"


def points(built: CODANOSpec) -> Iterator[int]:
    """Yield the number of points that each axis needs on the finest grid."""
    for axis in range(built.axes):
        layers = [
            n[axis] * max(built.levels.coarser[i] * built.coarser(i), built.levels.coarser[i + 1])
            for i, n in enumerate(built.o.n_modes)
        ]
        part = Fraction(built.padding[axis]).limit_denominator(1000)
        # where padding is rounded, there may be half a point less on each side
        rounded = built.multiple == 1 and part > 0
        inner = ceil((max(layers) + rounded) / (1 + 2 * part))
        yield max(inner, *(series_points(modes)[axis] for modes in all_series(built)), 1)


def series_points(counts: Numbers) -> Numbers:
    """Points that a series with `counts` frequencies from 0 on needs on each axis."""
    return (*counts[:-1], 2 * counts[-1] - 1)


def series(built: CODANOSpec, out: int, counts: Numbers) -> str:
    """Write a trained function with the frequencies 0 ... count - 1 on each axis."""
    modes = tuple(n - 1 for n in counts)
    faults = None if built.corrected else NEWEST
    domain = built.levels.domain(0)
    return call("series", domain, out=out, modes=modes, layout="neuralop", faults=faults)


def lifted(built: CODANOSpec, lines: Lines) -> str:
    """Concatenate each variable with its side inputs, lift all, and prepend the CLASS function."""
    o, x = built.o, "x"
    count = len(built.names)
    marks = []
    if o.use_positional_encoding:
        for i, name in enumerate(built.names):
            expression = series(built, o.positional_encoding_dim, encoding(built))
            marks.append(lines.add(f"mark_{i}", expression, weight(f"{MARK}{name}", "series")))
    if built.extended > 1:
        also = ["static_channel"] if o.static_channel_dim else []
        parts = [y for i in range(count) for y in (f"x[{i}]", *also, *marks[i : i + 1])]
        x = lines.add("placed", call("concat", *parts))
    if o.lifting_channels is not None:
        sizes = (o.lifting_channels, built.hidden)
        x = mlp(lines, "lift", x, sizes, "gelu", "lifting.", copies=count)
    if o.enable_cls_token:
        expression = series(built, built.hidden, o.n_modes[0])
        cls = lines.add("class", expression, weight("cls_token", "series"))
        x = lines.add("tokens", call("concat", cls, x))
    return x


def projected(built: CODANOSpec, lines: Lines, x: str) -> None:
    """Project the variables, without the CLASS function, to their output channels."""
    o = built.o
    if o.projection_channels is None:
        lines.add("result", x)
        return
    if o.enable_cls_token:
        x = lines.add("variables", f"{x}[{built.hidden}..{built.functions * built.hidden}]")
    sizes = (o.projection_channels, o.output_variable_codimension)
    mlp(lines, "project", x, sizes, "gelu", "projection.", copies=len(built.names))


def layered(
    built: CODANOSpec, blocks: Blocks, lines: Lines, x: str
) -> tuple[str, list[WeightSource]]:
    """Add the layers with the skips between them; return the result and sources of weights."""
    takes: list[WeightSource] = []
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


def joined(built: CODANOSpec, lines: Lines, x: str, i: int, source: int) -> str:
    """Combine x with the result t of an earlier layer: W (x, t) for each variable."""
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
