"""Predictions of a run in physical units: for values in memory, or from a file to a file."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from opdsl.data.bind.masks import completed
from opdsl.data.bind.samples import Fields, Samples, TimeSteps
from opdsl.data.io.dataset import Stream, stream_dataset
from opdsl.diagnostics import fault
from opdsl.lower.call_arguments import as_coordinates
from opdsl.lower.tiles.tiling import Tiled
from opdsl.nn.points.batch import (
    Values,
    all_values,
    concat_samples,
    count_samples,
    map_values,
    select,
)
from opdsl.nn.points.geometry import Geometries
from opdsl.nn.points.packed import Packed
from opdsl.train.engine.loader import FieldValues, Places, places_on_device
from opdsl.train.engine.precision import policy_of
from opdsl.train.metrics.evaluate import apply
from opdsl.workflow.datasets.binding import ABSENT, Binding, binding_of, missing_values
from opdsl.workflow.datasets.reading.mapped import DataMap
from opdsl.workflow.datasets.reading.query_samples import in_rows
from opdsl.workflow.errors import Warn, ignore
from opdsl.workflow.programs.patches import refuse_patches
from opdsl.workflow.runs.arrays import as_arguments, as_input
from opdsl.workflow.runs.calibration import with_edges
from opdsl.workflow.runs.prediction_files import peek, write_h5, write_npz, write_points
from opdsl.workflow.runs.rollout import loop_of

if TYPE_CHECKING:
    from opdsl.workflow.runs.run import Run

Tile = Mapping[str, int] | int  # points of a tile by the name of the axis, or on each axis


def predict(
    run: Run,
    inputs: Sequence[Any],
    named: Mapping[str, Any],
    *,
    batch: int | None,
    steps: int | None,
    tile: Tile | None,
) -> Any:
    """Apply a run to physical values in memory; see `Run.predict`."""
    first = inputs[0] if len(inputs) == 1 else None
    if isinstance(first, Mapping):
        inputs, named = [], {**first, **named}
    like = next(iter((*inputs, *named.values())), None)
    positional, by_name = as_arguments(run.graph, inputs, named)
    steps = steps or run.settings.rollout
    hidden: set[str] = set()
    if steps is None:
        arguments: dict[str, Any] = run.module.guards.by_name(positional, by_name)
        _check(run, arguments)
    else:
        arguments, hidden = _first_step(run, steps, positional, by_name)
    missing, names = missing_values(run.settings), [x.name for x in run.graph.inputs]
    axes = {x.name: x.space.domain.dims for x in run.graph.inputs}
    outputs = outputs_of(
        run,
        {k: completed(arguments[k], missing, axes[k]) for k in names},
        {k: _geometry(x) for k, x in arguments.items() if k not in names},
        model=_in_tiles(run, tile),
        batch=batch,
        steps=steps,
        hidden=hidden,
    )
    results = {k: as_input(x, like) for k, x in outputs.items()}
    return results if len(results) > 1 else results.popitem()[1]


def _first_step(
    run: Run, steps: int, inputs: Sequence[Any], named: Mapping[str, Any]
) -> tuple[dict[str, Any], set[str]]:
    """Return the inputs of a rollout, and the outputs to hide: the memory of the model.

    Raises:
        OpError: OP0901 to OP0907, they do not fit the program.
    """
    guards = run.module.guards
    guards.check_loop(steps)
    absent = _absent(run) - set(guards.names[: len(inputs)]) - set(named)
    first, with_steps = guards.rollout_inputs(steps, inputs, {**named, **dict.fromkeys(absent)})
    for loop in run.graph.feedback:
        if loop.input in with_steps:
            message = f"`{loop.input}` comes back by feedback, so it has a value for the first "
            helps = (f"give that: `{loop.input}[:, 0]`",)
            raise fault("OP0904", f"{message}step only", helps=helps, file=run.graph.name)
    _check(run, first | {k: x[:, 0] for k, x in with_steps.items()})
    return first | with_steps, {x.output for x in run.graph.feedback if x.input in absent}


def _absent(run: Run) -> set[str]:
    """Return the inputs that begin at zero, because no training file had them."""
    fields = run.settings.data.fields or {}
    return {x.name for x in run.graph.inputs if fields.get(x.name) == ABSENT}


def _check(run: Run, arguments: Mapping[str, Any]) -> None:
    """Refuse values that do not fit, before any of them is normalised."""
    guards, weight = run.module.guards, next(run.module.parameters(), None)
    move = _put(torch.empty(()) if weight is None else weight)
    values = {
        k: map_values(x, move) if isinstance(x, Tensor | Packed) else x
        for k, x in arguments.items()
    }
    guards.check(guards.bind((), values), weight)


def _in_tiles(run: Run, tile: Tile | None) -> nn.Module:
    """Return the module, which runs on one tile after the other if there is a `tile`.

    Raises:
        OpError: OP0652, it cannot be applied in tiles; OP0863, it runs on patches.
    """
    if tile is None:
        return run.module
    refuse_patches(run.settings, "run on tiles, since it runs on patches", run.graph.name)
    return Tiled(run.module, tile)


def outputs_of(
    run: Run,
    inputs: FieldValues,
    places: Places,
    *,
    model: nn.Module,
    batch: int | None = None,
    steps: int | None = None,
    hidden: Container[str] = (),
) -> dict[str, Values]:
    """Predict for values that fit the program; results by name, on the CPU.

    Args:
        run: a trained run.
        inputs: by name, (batch, channels, *grid) or packed; with steps, what has a value for
            each of them is (batch, steps, channels, *grid).
        places: where the points of domains are.
        model: the module of the run, or a tiled one.
        batch: samples at a time.
        steps: steps in time.
        hidden: outputs to leave out.
    """
    run.operator.normaliser.refuse_outside(inputs)
    weight = next(run.module.parameters(), torch.empty(()))
    policy = policy_of(run.settings.precision, weight.device)
    loop, put, first = loop_of(run.graph, steps), _put(weight), torch.tensor([0])

    def some(rows: Tensor) -> FieldValues:
        fields = {k: map_values(select(x, rows), put) for k, x in inputs.items()}
        geometries = places_on_device(places, rows if len(rows) else first, weight.device)
        outputs = apply(model, run.operator.normaliser, fields, policy, loop, steps, geometries)
        return {k: map_values(x, Tensor.cpu) for k, x in outputs.items()}

    mode = run.operator.training
    run.operator.eval()
    count = count_samples(inputs, places)
    try:
        with torch.no_grad():
            size = batch or run.settings.batch
            parts = [some(x) for x in torch.split(torch.arange(count), size)]
    finally:
        run.operator.train(mode)
    joined_outputs = {k: concat_samples([x[k] for x in parts]) for k in parts[0] if k not in hidden}
    return with_edges(run.calibration, joined_outputs)


def _put(like: Tensor) -> Callable[[Tensor], Tensor]:
    """Return how a value moves to the device and the number format of the weights."""
    real = like.dtype

    def put(x: Tensor) -> Tensor:
        return x.to(like.device, real.to_complex() if x.is_complex() else real)

    return put


def _geometry(x: Any) -> Geometries:
    coordinates = as_coordinates(x)
    assert coordinates is not None, "the guards let nothing else pass"
    return coordinates.geometry


# ------------------------------------------------------------------------------- from file to file


def predict_file(
    run: Run,
    source: str,
    out: Path,
    *,
    split: str | None = None,
    steps: int | None = None,
    batch: int | None = None,
    tile: Tile | None = None,
    warn: Warn = ignore,
) -> int:
    """Apply a run to the samples of a file, batch by batch, and write its outputs.

    Args:
        run: a trained run.
        source: a file or a folder of inputs.
        out: a new `.npz` or `.h5` file.
        split: the part of a folder, `train`, `valid` or `test`.
        steps: steps in time; as in training if not given.
        batch: samples at a time; as in training if not given.
        tile: points of a tile, for local models on large grids.
        warn: receives warnings about the data.

    Returns:
        The number of samples.

    Raises:
        OpError: OP0610 to OP0615, OP0657 or OP0658, the data do not fit; OP0625, the file cannot be
            written; OP0652, the model cannot be applied in tiles.
    """
    steps = steps or run.settings.rollout
    size = batch or run.settings.batch
    binding = _binding(run, steps, warn)
    data = stream_inputs(run, source, split, size, binding.data_map)
    fields, parts = peek(data.pieces)
    times = _step_times(run, steps, next(iter(fields.times.values()), None)) if steps else None
    predictions = _predicted(run, parts, binding, steps, batch=size, tile=tile)
    (samples, first), pieces = peek(predictions)
    if out.suffix == ".npz" and (rows := fields.query_rows) is not None:
        write_npz(out, (in_rows(x, rows) for _, x in pieces), len(rows))
    elif out.suffix == ".npz":
        write_npz(out, (x for _, x in pieces), data.count)
    elif samples.places:  # outputs on points are written in one piece
        write_points(out, run.graph, first, samples, times=times)
    else:
        dense = ({k: all_values(y) for k, y in x.items()} for _, x in pieces)
        write_h5(out, run.graph, dense, data.count, samples.layout, times=times)
    return data.count


def _binding(run: Run, steps: int | None, warn: Warn) -> Binding:
    """Return how data are bound for predictions of so many steps in time."""
    binding = binding_of(run.graph, run.settings, warn=warn)
    return replace(binding, steps=TimeSteps(steps) if steps else None)


def stream_inputs(run: Run, source: str, split: str | None, size: int, data_map: DataMap) -> Stream:
    """Open the inputs of a data set, as the program maps its arrays or by its layout."""
    mapped = data_map.open(source, split, inputs=True)
    if mapped is not None:
        # as of other layouts, data on points are one piece
        size = len(mapped) if any(x.scattered for x in run.graph.domains) else size
        starts = range(0, len(mapped), size)
        ends = (min(x + size, len(mapped)) for x in starts)
        rows = (range(*x) for x in zip(starts, ends, strict=True))
        pieces = (data_map.read(mapped, x) for x in rows)
        return Stream(len(mapped), pieces)
    axes = {x.space.domain.dims for x in run.graph.inputs if not x.space.domain.scattered}
    alone = axes.pop() if len(axes) == 1 else None
    return stream_dataset(source, split=split, size=size, alone=alone)


def _step_times(run: Run, steps: int, times: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the times of the outputs: those of the file, continued in equal steps, or 1, 2, ...

    Args:
        run: a trained run; its setting `data.start` says how many times of a file come before.
        steps: number of them.
        times: of the functions of time in the file of inputs, if there are some.
    """
    first = run.settings.data.start
    if times is None or len(times) <= first:
        return np.arange(1.0, steps + 1)
    step = float(np.diff(times).mean())
    known = times[first : first + steps]
    return np.append(known, known[-1] + step * np.arange(1, steps + 1 - len(known)))


def _predicted(
    run: Run,
    parts: Iterator[Fields],
    binding: Binding,
    steps: int | None,
    *,
    batch: int,
    tile: Tile | None,
) -> Iterator[tuple[Samples, dict[str, Values]]]:
    """Yield the inputs and the outputs of some samples at a time."""
    model = _in_tiles(run, tile)  # build it once: the tiles cache their plans
    for fields in parts:
        samples = binding.inputs(fields)
        outputs = outputs_of(
            run,
            samples.inputs,
            samples.model_points,
            model=model,
            batch=batch,
            steps=steps,
            hidden=binding.states,
        )
        yield samples, outputs
