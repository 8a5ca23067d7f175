"""A trained module at work: `evaluate` measures it on samples, `predict` applies it.

Both use no randomness, take no gradient and leave the module in the mode they found it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.nn.points.batch import (
    Values,
    all_values,
    as_call_argument,
    concat_samples,
    count_samples,
    map_values,
    match_packing,
    select,
)
from opdsl.nn.points.packed import Packed
from opdsl.parallel.agreement import gathered_over_data
from opdsl.parallel.mesh import ALONE, ProcessMesh
from opdsl.train.config.schema import Band
from opdsl.train.engine.device import device_of
from opdsl.train.engine.loader import (
    AnySampleSet,
    DeviceLoader,
    FieldValues,
    Places,
    head_of,
    places_on_device,
)
from opdsl.train.engine.precision import PrecisionPolicy, policy_of
from opdsl.train.engine.rollout import GradientPath, Rollout
from opdsl.train.losses.expressions.objective import MetricExpressions, MetricSums
from opdsl.train.losses.objective import LossInputs
from opdsl.train.metrics.error_sums import ErrorSums, Metrics, average, sum_dtype
from opdsl.train.metrics.norms import GridAxes, measured_samples
from opdsl.train.metrics.pinball import pinball
from opdsl.train.metrics.quadrature import Samplings
from opdsl.train.scaling.normalise import Normaliser


def evaluate(  # noqa: PLR0913  the contract with the callers
    module: nn.Module,
    normaliser: Normaliser,
    samples: AnySampleSet,
    *,
    axes_of: Mapping[str, GridAxes] | None = None,
    periodic: Mapping[str, tuple[bool, ...]] | None = None,
    lengths: Mapping[str, tuple[float, ...]] | None = None,
    samplings: Samplings | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
    loop: Rollout | None = None,
    band: Band | None = None,
    expressions: MetricExpressions | None = None,
) -> Metrics:
    """Measure the errors of a module on samples.

    Args:
        module: takes inputs by name, returns a tensor or a dictionary.
        normaliser: of the run that trained it.
        samples: inputs and truth.
        axes_of: for each output the axes of its grid.
        periodic: for each output not in `axes_of`, which axes are periodic; none if not given.
        lengths: for each output, the lengths of its axes; 1 if not given.
        samplings: of outputs on a sphere, see `opdsl.train.metrics.quadrature`.
        device: as in the settings.
        precision: as in the settings.
        batch: samples at a time.
        loop: how steps in time follow each other, if the truth has an axis of time.
        band: which output is the width of a band around which, if one is.
        expressions: more metrics.
    """
    policy = policy_of(precision, device_of(device))
    prepare(module, normaliser, policy)
    grids = grids_of(samples, periodic or {}, lengths or {}, loop, axes_of)
    loader = DeviceLoader.of(samples, policy, samplings, normaliser.units(loop))
    with closing(loader):
        return measure(
            module, normaliser, loader, grids, batch, loop, band, expressions=expressions
        )


def predict(  # noqa: PLR0913  the contract with the callers
    module: nn.Module,
    normaliser: Normaliser,
    inputs: FieldValues,
    *,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
    loop: Rollout | None = None,
    steps: int | None = None,
    places: Places | None = None,
) -> FieldValues:
    """Return outputs by name, (samples, channels, *grid) in physical units on the CPU.

    With `steps` and their `loop`, (samples, steps, channels, *grid). On points that each sample has
    of its own, packed; `places` says where they are.
    """
    policy = policy_of(precision, device_of(device))
    prepare(module, normaliser, policy)
    count = count_samples(inputs, places or {})
    parts: list[FieldValues] = []
    with at_rest(module):
        for rows in torch.split(torch.arange(count), batch):
            some = {k: map_values(select(v, rows), policy.place) for k, v in inputs.items()}
            geometries = places_on_device(places or {}, rows, policy.device)
            outputs = apply(module, normaliser, some, policy, loop, steps, geometries)
            parts.append({k: map_values(v, Tensor.cpu) for k, v in outputs.items()})
    return {k: concat_samples([p[k] for p in parts]) for k in parts[0]}


def apply(  # noqa: PLR0917  as `predict`, in its order
    module: Callable[..., Any],
    normaliser: Normaliser,
    inputs: FieldValues,
    policy: PrecisionPolicy,
    loop: Rollout | None = None,
    steps: int | None = None,
    places: Places | None = None,
    gradient: GradientPath = "none",
) -> FieldValues:
    """Map physical inputs to physical outputs; only the module itself runs under autocast.

    With `steps` and their `loop`, (batch, steps, channels, *grid); `gradient` is the setting
    `pushforward`.
    """
    where = {k: as_call_argument(x) for k, x in (places or {}).items()}

    def step(given: FieldValues) -> FieldValues:
        encoded = normaliser.encode(given)
        with policy.arithmetic(), policy.autocast():
            outputs = module(**encoded, **where)
        return normaliser.decode(outputs, given)

    return loop.run(step, inputs, steps, gradient) if loop and steps else step(inputs)


def grids_of(
    samples: AnySampleSet,
    periodic: Mapping[str, tuple[bool, ...]],
    lengths: Mapping[str, tuple[float, ...]],
    loop: Rollout | None = None,
    axes_of: Mapping[str, GridAxes] | None = None,
) -> dict[str, GridAxes]:
    """Return the axes of each output: of length 1 and not periodic unless given.

    Args:
        samples: whose outputs count.
        periodic: for each output, which axes are periodic.
        lengths: for each output, the lengths of its axes.
        loop: the rollout, if the outputs have an axis of time.
        axes_of: for each output all of this.
    """
    grids = {}
    for name, x in head_of(samples).outputs.items():
        if axes_of is not None and name in axes_of:
            grids[name] = axes_of[name]
            continue
        axes = 0 if isinstance(x, Packed) else x.dim() - (3 if loop else 2)
        wraps = periodic.get(name, (False,) * axes)
        grids[name] = GridAxes(wraps, lengths.get(name, (1.0,) * len(wraps)))
    return grids


def measure(  # noqa: PLR0913  the contract with the callers
    module: nn.Module,
    normaliser: Normaliser,
    loader: DeviceLoader,
    grids: Mapping[str, GridAxes],
    batch: int,
    loop: Rollout | None = None,
    band: Band | None = None,
    *,
    expressions: MetricExpressions | None = None,
    mesh: ProcessMesh = ALONE,
) -> Metrics:
    """Measure the errors over a loader, summed in float64.

    Several processes share the samples of each batch, and all return the errors over all samples.
    """
    scales = normaliser.in_units(loader.units)
    tallies = {name: ErrorSums(loader.units.outputs.get(name, 1.0)) for name in grids}
    counts = _Counts()
    sums = expressions.sums() if expressions else None
    with at_rest(module):
        for some in loader.in_order(batch, mesh):
            truth, steps = some.truth, steps_of(some.truth, loop)
            with torch.set_grad_enabled(sums is not None and sums.needs_gradients):
                some = sums.prepare(some) if sums else some  # noqa: PLW2901  with other points
                outputs = apply(
                    module, scales, some.inputs, loader.policy, loop, steps, some.places
                )
                if sums and some.counts:
                    sums.add(LossInputs(outputs, some, grids, scales, loader.units, loop))
            if not some.counts:
                continue
            outputs = {k: map_values(x, Tensor.detach) for k, x in outputs.items()}
            zero = torch.zeros(count_samples(truth, {}), dtype=torch.bool)
            for name, tally in tallies.items():
                pair = match_packing(outputs[name], truth[name]), truth[name]
                weights = some.weights.get(name)
                zero |= tally.add(*pair, grids[name], weights, timed=loop is not None)
            counts.vanishing += int(zero.sum())
            if band:
                loss = band_loss(outputs, truth, band, scales, some.weights)
                counted = measured_samples(some.weights.get(band.of or ""), len(loss))
                counts.widths += float(loss[counted.to(loss.device)].sum(dtype=sum_dtype(loss)))
                counts.bands += int(counted.sum())
    if mesh.data > 1:
        tallies, counts = _over_processes(mesh, tallies, counts, sums)
    metrics = average(list(tallies.values()), counts.vanishing)
    metrics = replace(metrics, expressions=sums.means()) if sums else metrics
    return replace(metrics, pinball=counts.widths / max(counts.bands, 1)) if band else metrics


@dataclass(slots=True)
class _Counts:
    """Sums over samples besides those of `ErrorSums`: the loss of a band, and zero truths."""

    widths: float = 0.0
    bands: int = 0
    vanishing: int = 0


def _over_processes(
    mesh: ProcessMesh, tallies: dict[str, ErrorSums], counts: _Counts, sums: MetricSums | None
) -> tuple[dict[str, ErrorSums], _Counts]:
    """Add up the sums of all processes in the order of their samples; `sums` changes in place."""
    own = sums.values() if sums else ({}, {})
    parts = gathered_over_data(mesh, (tallies, counts, own))
    (tallies, counts, _), *others = parts
    for more, other, _ in others:
        for name, tally in tallies.items():
            tally.include(more[name])
        counts = _Counts(
            counts.widths + other.widths,
            counts.bands + other.bands,
            counts.vanishing + other.vanishing,
        )
    if sums:
        sums.replace([x for _, _, x in parts])
    return tallies, counts


def steps_of(truth: FieldValues, loop: Rollout | None) -> int | None:
    """Return the number of steps in time of the truth."""
    return all_values(next(iter(truth.values()))).shape[1] if loop else None


def band_loss(
    outputs: FieldValues,
    truth: FieldValues,
    band: Band,
    normaliser: Normaliser,
    weights: Mapping[str, Values] | None = None,
) -> Tensor:
    """Return the pinball loss of the width, (batch,), in units of the deviation of the output."""
    assert band.of
    unit = normaliser.deviation(band.of, outputs[band.of])
    pred = all_values(outputs[band.of]).detach()
    away = map_values(truth[band.of], lambda x: (x - pred).abs() / unit)
    width = map_values(outputs[band.width], lambda x: x / unit)
    return pinball(width, away, 1 - band.alpha, (weights or {}).get(band.of))


def prepare(module: nn.Module, normaliser: Normaliser, policy: PrecisionPolicy) -> None:
    """Move a module and its normaliser to the device, in the dtype of the weights."""
    policy.prepare_module(module)
    normaliser.to(policy.device, policy.weights)


@contextmanager
def at_rest(module: nn.Module) -> Iterator[None]:
    """Run the block in evaluation mode and without gradients.

    Not `inference_mode`: tensors that a module keeps from there could never enter a gradient.
    """
    mode = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(mode)
