"""Errors over a set of samples: what is said of a model, and the sums of which it is made."""

from dataclasses import asdict, dataclass, field
from math import nan
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.nn.points.packed import Packed
from opdsl.train.losses.h1 import rel_h1
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.norms import (
    GridAxes,
    measured_samples,
    nonzero_samples,
    rms,
    step_weights,
    without_masked,
)

OPTIONAL = ("steps", "pinball", "zero_samples", "zero_rmse", "expressions")


@dataclass(frozen=True, slots=True)
class Metrics:
    """Errors over a set of samples, in physical units; several outputs are averaged.

    Where the truth is zero everywhere there is no relative error: such samples are left out of
    relative means. Means over points are weighted by quadrature weights where cells are not equal.
    Points that are masked have the weight zero and no error; samples without other points are left
    out of all errors.

    Attributes:
        rel_l2: mean over samples of the relative L2 error; NaN if no sample has one.
        rel_h1: mean over samples of the relative H1 error; None where an output has no grid or is
            masked.
        rmse: root of the mean square error over all values of all samples.
        max_error: the largest error at any point that counts.
        samples: how many.
        steps: the relative L2 error of each step in time; None where there is one step.
        pinball: the loss of the width of a band, without unit; None where there is no band.
        zero_samples: how many samples have an output, or a step of one, whose truth is zero
            everywhere; None where there are none.
        zero_rmse: root of the mean square error over these functions; None where there are none.
        expressions: the metrics of `eval.metrics` by their texts; None where there are none.
    """

    rel_l2: float
    rel_h1: float | None
    rmse: float
    max_error: float
    samples: int
    steps: list[float] | None = None
    pinball: float | None = None
    zero_samples: int | None = None
    zero_rmse: float | None = None
    expressions: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to a dictionary; entries that only some runs have are left out if None."""
        return {k: v for k, v in asdict(self).items() if v is not None or k not in OPTIONAL}


@dataclass(slots=True)
class ErrorSums:
    """Running sums of the errors of one output.

    Attributes:
        unit: of the values that are added; absolute errors are multiplied by it.
        samples, values: how many have been added.
        steps: (steps, 2), the sum of relative L2 errors of each step in time, and how many there
            are; one step where there is no axis of time.
        h1: the sum of relative H1 errors and how many there are; None where there is no grid.
        squares: the sum of mean squares times measures, and the sum of measures.
        zero_squares: as `squares`, of functions whose truth is zero everywhere.
        largest: the largest error of each batch.
    """

    unit: float = 1.0
    samples: int = 0
    values: int = 0
    steps: Tensor | None = None
    timed: bool = False
    h1: Tensor | None = None
    squares: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))
    zero_squares: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))
    largest: list[float] = field(default_factory=list)

    def add(
        self, pred: Values, true: Values, grid: GridAxes, weights: Values | None, *, timed: bool
    ) -> Tensor:
        """Add a batch.

        Args:
            pred: (batch, channels, *grid), with `timed` (batch, steps, channels, *grid), or packed.
            true: the same functions.
            grid: of the output.
            weights: quadrature weights of the points, if they do not count alike; with an axis of
                time where those of the steps differ.
            timed: whether there is an axis of time.

        Returns:
            (batch,), on the CPU: whether the truth of a sample, or a step of it, is zero.
        """
        batch, self.timed = len(true), timed
        if timed:  # a step is a function like any other
            weights = step_weights(weights, true)
            pred, true = (all_values(x).flatten(0, 1) for x in (pred, true))
        nonzero = nonzero_samples(true, weights).cpu()
        self.samples += batch
        self._add_relative(pred, true, grid, weights, nonzero.reshape(batch, -1))
        self._add_absolute(pred, true, weights, nonzero)
        vanishing = ~nonzero & measured_samples(weights, len(true)).cpu()
        return vanishing.reshape(batch, -1).any(1)

    def include(self, other: "ErrorSums") -> None:
        """Add the sums over other samples of the output, as of another process."""
        self.samples, self.values = self.samples + other.samples, self.values + other.values
        self.timed |= other.timed
        self.steps, self.h1 = _added(self.steps, other.steps), _added(self.h1, other.h1)
        self.squares = self.squares + other.squares
        self.zero_squares = self.zero_squares + other.zero_squares
        self.largest += other.largest

    def _add_relative(
        self, pred: Values, true: Values, grid: GridAxes, weights: Values | None, counted: Tensor
    ) -> None:
        steps = _sums(rel_l2(pred, true, weights).cpu().reshape(counted.shape), counted)
        self.steps = steps if self.steps is None else self.steps + steps
        whole = bool(grid.periodic) and weights is None  # a masked function has no differences
        if whole and isinstance(pred, Tensor) and isinstance(true, Tensor):
            h1 = _sums(rel_h1(pred, true, grid).cpu().reshape(counted.shape), counted).sum(0)
            self.h1 = h1 if self.h1 is None else self.h1 + h1

    def _add_absolute(
        self, pred: Values, true: Values, weights: Values | None, counted: Tensor
    ) -> None:
        error = map_values(true, lambda x: (all_values(pred) - x).abs())
        error = without_masked(error, weights)
        self.values += _count(error, weights)
        self.largest.append(float(all_values(error).max()) * self.unit)
        wide = map_values(error, lambda x: x.to(sum_dtype(x)))
        squares = rms(wide, weights).cpu().double().square()
        sizes = _measures(error, weights)
        rows = torch.stack([torch.where(sizes > 0, squares * sizes, 0.0), sizes], 1)
        self.squares = self.squares + rows.sum(0)
        self.zero_squares = self.zero_squares + rows[~counted].sum(0)


def average(tallies: list[ErrorSums], vanishing: int) -> Metrics:
    """Average the metrics of all outputs.

    Args:
        tallies: of each output.
        vanishing: how many samples have a truth that is zero.
    """
    sums = [t.steps for t in tallies if t.steps is not None]
    steps = [_mean(list(x)) for x in zip(*sums, strict=True)]
    h1 = [t.h1 for t in tallies if t.h1 is not None]
    return Metrics(
        rel_l2=_mean([x.sum(0) for x in sums]),
        rel_h1=_mean(h1) if len(h1) == len(tallies) else None,
        rmse=_pooled([(t.squares, t) for t in tallies if t.squares[1] > 0]),
        max_error=float(
            torch.tensor([x for t in tallies if t.values for x in t.largest] or [nan]).max()
        ),
        samples=tallies[0].samples,
        steps=steps if tallies[0].timed else None,
        zero_samples=vanishing or None,
        zero_rmse=_pooled([(t.zero_squares, t) for t in tallies if t.zero_squares[1] > 0])
        if vanishing
        else None,
    )


def sum_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of sums: float64 where the device has it, else float32."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def _sums(errors: Tensor, counted: Tensor) -> Tensor:
    """Return (n, 2): for each column the sum and the number of the errors that count."""
    some = torch.where(counted, errors, 0.0)
    return torch.stack([some.sum(0, dtype=torch.float64), counted.sum(0).double()], 1)


def _added(x: Tensor | None, y: Tensor | None) -> Tensor | None:
    return y if x is None else x if y is None else x + y


def _mean(sums: list[Tensor]) -> float:
    """Return the mean over outputs of the mean over functions; NaN if there are none."""
    means = [float(total / count) for total, count in sums if count > 0]
    return sum(means) / len(means) if means else nan


def _pooled(parts: list[tuple[Tensor, ErrorSums]]) -> float:
    """Return the root mean square over the values of several outputs; NaN if there are none."""
    if not parts:
        return nan
    squares = sum(float(total / size) * t.unit**2 * t.values for (total, size), t in parts)
    return float((squares / sum(t.values for _, t in parts)) ** 0.5)


def _measures(error: Values, weights: Values | None) -> Tensor:
    """Return the weight of each function in means over points, (batch,) in float64 on the CPU."""
    if weights is None:
        sizes = error.sizes if isinstance(error, Packed) else [error[0].numel()] * len(error)
        return torch.tensor(sizes, dtype=torch.float64)
    if isinstance(weights, Packed):
        return torch.stack([x.sum(dtype=torch.float64) for x in weights.map(Tensor.cpu).parts])
    return weights.cpu().flatten(1).sum(1, dtype=torch.float64).expand(len(error))


def _count(error: Values, weights: Values | None) -> int:
    """Count the values that have an error."""
    if weights is None:
        return all_values(error).numel()
    return int((all_values(weights) > 0).expand_as(all_values(error)).sum())
