"""A trained module at work: `evaluate` measures it on samples, `predict` applies it.

Both use no randomness, take no gradient and leave the module in the mode they found it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.nn.batch import Values, alike, changed, joined, numbers, picked, told_places
from opdsl.nn.packed import Packed
from opdsl.train.device import device_of
from opdsl.train.losses import Grid, pinball, rel_h1, rel_l2
from opdsl.train.normalise import Normaliser
from opdsl.train.precision import Policy, policy_of
from opdsl.train.rollout import Loop
from opdsl.train.samples import Feed, Fields, Places, Samples, placed_on
from opdsl.train.sections import Band


@dataclass(frozen=True, slots=True)
class Metrics:
    """Errors over a set of samples, in physical units; several outputs are averaged.

    Attributes:
        rel_l2: mean over samples of the relative L2 error.
        rel_h1: the same in H1; None where an output has no grid.
        rmse: root of the mean square error over all values, which all count alike.
        max_error: the largest error anywhere.
        samples: how many.
        steps: the relative L2 error of each step in time; None where there is one step.
        pinball: the loss of the width of a band, without unit; None where there is no band.
    """

    rel_l2: float
    rel_h1: float | None
    rmse: float
    max_error: float
    samples: int
    steps: list[float] | None = None
    pinball: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The same as a dictionary, without what only some runs have."""
        more = ("steps", "pinball")
        return {k: v for k, v in asdict(self).items() if v is not None or k not in more}


def evaluate(  # noqa: PLR0913  the contract with the callers
    module: nn.Module,
    normaliser: Normaliser,
    samples: Samples,
    *,
    periodic: Mapping[str, tuple[bool, ...]] | None = None,
    lengths: Mapping[str, tuple[float, ...]] | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
    loop: Loop | None = None,
    band: Band | None = None,
) -> Metrics:
    """The errors of a module on samples.

    Args:
        module: takes inputs by name, returns a tensor or a dictionary.
        normaliser: of the run that trained it.
        samples: inputs and truth.
        periodic: for each output, which axes are periodic; none if not given.
        lengths: for each output, the lengths of its axes; 1 if not given.
        device: as in the settings.
        precision: as in the settings.
        batch: samples at a time.
        loop: how steps in time follow each other, if the truth has an axis of time.
        band: which output is the width of a band around which, if one is.
    """
    policy = policy_of(precision, device_of(device))
    _move(module, normaliser, policy)
    grids = grids_of(samples, periodic or {}, lengths or {}, loop)
    feed = Feed.of(samples, policy)
    return measure(module, normaliser, feed, grids, batch, loop, band)


def predict(  # noqa: PLR0913  the contract with the callers
    module: nn.Module,
    normaliser: Normaliser,
    inputs: Fields,
    *,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
    loop: Loop | None = None,
    steps: int | None = None,
    places: Places | None = None,
) -> Fields:
    """The outputs of a module by name, (samples, channels, *grid) in physical units on the CPU.

    With `steps` and their `loop`, (samples, steps, channels, *grid). On points that each sample has
    of its own, packed; `places` says where they are.
    """
    policy = policy_of(precision, device_of(device))
    _move(module, normaliser, policy)
    parts: list[Fields] = []
    with _at_rest(module):
        for rows in torch.split(torch.arange(_size(inputs)), batch):
            some = {k: changed(picked(v, rows), policy.place) for k, v in inputs.items()}
            where = placed_on(places or {}, rows, policy.device)
            found = apply(module, normaliser, some, policy, loop, steps, where)
            parts.append({k: changed(v, Tensor.cpu) for k, v in found.items()})
    return {k: joined([p[k] for p in parts]) for k in parts[0]}


def apply(
    module: nn.Module,
    normaliser: Normaliser,
    inputs: Fields,
    policy: Policy,
    loop: Loop | None = None,
    steps: int | None = None,
    places: Places | None = None,
) -> Fields:
    """Physical inputs -> physical outputs; only the module itself runs under autocast.

    With `steps` and their `loop`, (batch, steps, channels, *grid).
    """
    where = {k: told_places(x) for k, x in (places or {}).items()}

    def step(given: Fields) -> Fields:
        encoded = normaliser.encode(given)
        with policy.arithmetic(), policy.autocast():
            outputs = module(**encoded, **where)
        return normaliser.decode(outputs)

    return loop.run(step, inputs, steps) if loop and steps else step(inputs)


def grids_of(
    samples: Samples,
    periodic: Mapping[str, tuple[bool, ...]],
    lengths: Mapping[str, tuple[float, ...]],
    loop: Loop | None = None,
) -> dict[str, Grid]:
    """The grid of each output; axes are not periodic and of length 1 unless said otherwise."""
    found = {}
    for name, x in samples.outputs.items():
        axes = 0 if isinstance(x, Packed) else x.dim() - (3 if loop else 2)
        wraps = periodic.get(name, (False,) * axes)
        found[name] = Grid(wraps, lengths.get(name, (1.0,) * len(wraps)))
    return found


def measure(
    module: nn.Module,
    normaliser: Normaliser,
    feed: Feed,
    grids: Mapping[str, Grid],
    batch: int,
    loop: Loop | None = None,
    band: Band | None = None,
) -> Metrics:
    """The errors over a feed, summed in float64."""
    tallies = {name: _Tally() for name in grids}
    widths = 0.0
    with _at_rest(module):
        for some in feed.in_order(batch):
            truth, steps = some.truth, steps_of(some.truth, loop)
            outputs = apply(module, normaliser, some.inputs, feed.policy, loop, steps, some.places)
            for name, tally in tallies.items():
                pair = alike(outputs[name], truth[name]), truth[name]
                tally.add(*pair, grids[name], some.weights.get(name), timed=loop is not None)
            if band:
                loss = band_loss(outputs, truth, band, normaliser)
                widths += float(loss.sum(dtype=_sum_dtype(loss)))
    found = _averaged(list(tallies.values()), with_h1=all(g.periodic for g in grids.values()))
    return replace(found, pinball=widths / found.samples) if band else found


def steps_of(truth: Fields, loop: Loop | None) -> int | None:
    """How many steps in time the truth has."""
    return numbers(next(iter(truth.values()))).shape[1] if loop else None


def band_loss(outputs: Fields, truth: Fields, band: Band, normaliser: Normaliser) -> Tensor:
    """The pinball loss of the width, in units of the deviation of the output; (batch,)."""
    assert band.of
    unit = normaliser.unit(band.of, outputs[band.of])
    pred = numbers(outputs[band.of]).detach()
    away = changed(truth[band.of], lambda x: (x - pred).abs() / unit)
    return pinball(changed(outputs[band.width], lambda x: x / unit), away, 1 - band.alpha)


@dataclass(slots=True)
class _Tally:
    """Running sums of one output."""

    l2: float = 0.0
    h1: float = 0.0
    squares: float = 0.0
    values: int = 0
    largest: list[float] = field(default_factory=list)
    samples: int = 0
    each_step: list[float] = field(default_factory=list)

    def add(
        self, pred: Values, true: Values, grid: Grid, weights: Values | None, *, timed: bool
    ) -> None:
        error = (numbers(pred) - numbers(true)).abs()
        self.samples += len(true)
        if timed:  # the mean over steps is that of one step after the other
            count, (pred, true) = error.shape[1], (numbers(x).flatten(0, 1) for x in (pred, true))
            steps = rel_l2(pred, true, weights).reshape(-1, count)
            new = steps.sum(0, dtype=_sum_dtype(steps)).tolist()
            self.each_step = [
                a + b for a, b in zip(self.each_step or [0.0] * len(new), new, strict=True)
            ]
        wide = _sum_dtype(error)
        self.l2 += float(rel_l2(pred, true, weights).sum(dtype=wide))
        if isinstance(pred, Tensor) and isinstance(true, Tensor):
            self.h1 += float(rel_h1(pred, true, grid).sum(dtype=wide))
        self.squares += float((error * error).sum(dtype=wide))
        self.values += error.numel()
        self.largest.append(float(error.max()))


def _sum_dtype(x: Tensor) -> torch.dtype:
    """float64 where the device has it."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def _averaged(tallies: list[_Tally], *, with_h1: bool) -> Metrics:
    samples = tallies[0].samples
    steps = len(tallies[0].each_step)
    count = samples * max(1, steps)
    return Metrics(
        rel_l2=sum(t.l2 for t in tallies) / (count * len(tallies)),
        rel_h1=sum(t.h1 for t in tallies) / (count * len(tallies)) if with_h1 else None,
        rmse=(sum(t.squares for t in tallies) / sum(t.values for t in tallies)) ** 0.5,
        max_error=float(torch.tensor([x for t in tallies for x in t.largest]).max()),
        samples=samples,
        steps=[
            sum(t.each_step[i] for t in tallies) / (samples * len(tallies)) for i in range(steps)
        ]
        or None,
    )


def _move(module: nn.Module, normaliser: Normaliser, policy: Policy) -> None:
    policy.settle(module)
    normaliser.to(policy.device, policy.weights)


def _size(inputs: Fields) -> int:
    return len(next(iter(inputs.values())))


@contextmanager
def _at_rest(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients.

    Not `inference_mode`: tensors that a module keeps from there could never enter a gradient.
    """
    mode = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(mode)
