"""The text of a first program, for what a data file holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from opdsl.data.arrays.axes import described
from opdsl.data.arrays.references import written
from opdsl.diagnostics import fault
from opdsl.workflow.first_program.contents import Contents, contents_of
from opdsl.workflow.texts import format_text

MODES = {1: 24, 2: 12, 3: 8}  # by the number of axes, at most
WIDTH = {1: 64, 2: 32, 3: 16}
LATITUDES = ("lat", "latitude", "theta")


def first_program(
    path: str, name: str, inputs: Sequence[str] = (), outputs: Sequence[str] = ()
) -> str:
    """Write a first program for the data of a file.

    Args:
        path: a file or a folder.
        name: the name of the model.
        inputs: arrays or fields that the model takes, where the file does not say so.
        outputs: those that it returns.

    Returns:
        The text of the program, in the one layout.

    Raises:
        OpError: OP0660, nothing states which arrays are inputs and outputs; OP0661, nothing states
            their axes; OP0610, OP0615, the file cannot be read.
    """
    contents = contents_of(path, inputs, outputs)
    if contents.grid and contents.grid[0].name in LATITUDES:
        message = "the axes are latitudes and longitudes, for which `init` writes no program"
        helps = ("begin with `opdsl show --core specs/sfno_swe.op`, a model on the sphere",)
        raise fault("OP0661", message, helps=helps, file=path)
    return format_text(_text(contents, name), f"{name}.op")


def _text(x: Contents, name: str) -> str:
    on_points = bool(x.dims)
    body = _on_points(x) if on_points else _on_grid(x)
    functions = [*x.inputs, *x.outputs]
    domain = {"grid": "D", "points": "P"}
    spaces = {
        f.name: f"{domain[f.kind]} -> R^{f.channels}" if f.kind != "vector" else f"R^{f.channels}"
        for f in functions
    }
    ports = [f"  input {f.name} : {spaces[f.name]}" for f in x.inputs]
    ports += [f"  output {f.name} : {spaces[f.name]}" for f in x.outputs]
    if x.steps:
        ports.append(f"  feedback {x.outputs[0].name} -> {x.inputs[0].name}")
    train = [f"  data {{ {' '.join(_data(x))} }}", "  loss = l2"]
    if x.steps:
        train.append(f"  rollout = {x.steps}")
    train.append("  optimizer adamw { lr = 2e-3 weight_decay = 1e-4 }")
    train.append("  schedule one_cycle { epochs = 50 }")
    train.append("  batch = 8" if on_points else "  batch = 16")
    used = [w for w in ("SpectralLayer", "PhysicsLayer") if w in body]
    homes = {"SpectralLayer": "spectral", "PhysicsLayer": "transformer"}
    imports = ["from std.pointwise import Lift, Project"]
    imports += [f"from std.{homes[w]} import {w}" for w in used]
    lines = [
        f"# A first program for {Path(x.path).name} ({x.origin}). Read it, change it, then:",
        f"# `opdsl check {name}.op`, `opdsl train {name}.op`.",
        "edition 2026",
        "",
        *imports,
        "",
        f'model {_title(name)} "say which function this is" {{',
        f"  domain {_domain(x)}",
        *ports,
        "",
        body,
        "}",
        "",
        f"train {_title(name)} {{",
        *train,
        "}",
        "",
    ]
    return "\n".join(lines)


def _title(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    title = "".join(w[:1].upper() + w[1:] for w in words)
    return title if title[:1].isalpha() else f"M{title}"


def _domain(x: Contents) -> str:
    if x.dims:
        shared = "" if x.shared else ", geometry = per_sample"
        return f"P = points({x.dims}{shared})"
    axes = ", ".join(f"{a.name}: {a.low:g}..{a.high:g}" for a in x.grid)
    boundary = _one_or_each([a.boundary for a in x.grid])
    usual = ["lower" if a.boundary == "periodic" else "both" for a in x.grid]
    samplings = [a.sampling for a in x.grid]
    sampling = "" if samplings == usual else f", sampling = {_one_or_each(samplings)}"
    least = 2 * _modes(x) + 1
    return f"D = grid({axes}, boundary = {boundary}{sampling}, min = {least})"


def _one_or_each(words: Sequence[str]) -> str:
    return words[0] if len(set(words)) == 1 else f"({', '.join(words)})"


def _modes(x: Contents) -> int:
    """Modes that the coarsest axis carries with some room, and that a first model needs."""
    return max(1, min(MODES[min(len(x.grid), 3)], (min(a.points for a in x.grid) - 1) // 2))


def _on_grid(x: Contents) -> str:
    dims = min(len(x.grid), 3)
    vectors = [f for f in x.inputs if f.kind == "vector"]
    functions = [f.name for f in x.inputs if f.kind == "grid"]
    lines = [
        f"  param width : int = {WIDTH[dims]}",
        "  param depth : int = 4",
        f"  param modes : modes = {_modes(x)}",
        "",
    ]
    lifted = f"concat({', '.join([*functions, 'coords(D)'])}) |> Lift(out = width)"
    for f in vectors:
        lifted += f" |> modulate(mlp({f.name}, widths = [width, 2 * width]))"
    layers = "repeat depth { SpectralLayer(modes = modes) }"
    return "\n".join([*lines, *_heads(x, f"{lifted} |> {layers}")])


def _on_points(x: Contents) -> str:
    vectors = [f for f in x.inputs if f.kind == "vector"]
    functions = [f.name for f in x.inputs if f.kind == "points"]
    inner = f"concat({', '.join([*functions, 'coords(P)'])})" if functions else "coords(P)"
    lines = ["  param width : int = 64", "  param depth : int = 4", ""]
    lifted = f"{inner} |> Lift(out = width)"
    for f in vectors:
        lifted += f" |> modulate(mlp({f.name}, widths = [width, 2 * width]))"
    layers = "repeat depth { PhysicsLayer(slices = 32, heads = 4) } |> norm(kind = layer)"
    return "\n".join([*lines, *_heads(x, f"{lifted} |> {layers}")])


def _heads(x: Contents, trunk: str) -> list[str]:
    """Return the last lines: one output at the end of the trunk, or several heads."""
    if len(x.outputs) == 1:
        only = x.outputs[0]
        return [f"  {only.name} = {trunk} |> Project(out = {only.channels})"]
    heads = [f"  {f.name} = hidden |> Project(out = {f.channels})" for f in x.outputs]
    return [f"  hidden = {trunk}", *heads]


def _data(x: Contents) -> Iterator[str]:
    """Yield the entries of the data block."""
    yield f'path = "{x.path}"'
    functions = [f for f in (*x.inputs, *x.outputs) if f.references]
    fields = [f"{f.name} = {written(f.references)}" for f in functions]
    if x.points[0]:
        fields.append(f"P = {written(x.points[0])}")
    if fields:
        yield f"fields {{ {' '.join(fields)} }}"
    axes = [f"{f.name} = {described(f.axes)}" for f in functions if f.axes]
    if x.points[1]:
        axes.append(f"P = {described(x.points[1])}")
    if axes:
        yield f"axes {{ {' '.join(axes)} }}"
    if x.steps:
        yield "windows { first = 0 }"
