"""Errors of predictions on a coarse grid that cubic splines interpolate to a finer one.

A model is of use at a fine resolution where its own prediction there has a smaller error.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from opdsl.nn.points.batch import all_values
from opdsl.train.engine.device import device_of
from opdsl.train.engine.loader import AnySampleSet, DeviceLoader, FieldValues, head_of
from opdsl.train.engine.precision import policy_of
from opdsl.train.engine.rollout import Rollout
from opdsl.train.metrics.error_sums import ErrorSums, Metrics, average
from opdsl.train.metrics.evaluate import apply, at_rest, prepare, steps_of
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.scaling.normalise import Normaliser

# scipy keeps four coefficients and about six temporary numbers for each knot of a function
NUMBERS_OF_A_KNOT, NUMBERS_OF_A_POINT = 10, 2
PIECE = 2**26  # bytes that the splines of the functions of a piece take


@dataclass(frozen=True, slots=True)
class CoarseGrid:
    """A grid of every k-th point of a finer one.

    Attributes:
        fine: points of the finer grid on each axis.
        knots: for each axis, the indices of the coarse points among these.
    """

    fine: tuple[int, ...]
    knots: tuple[range, ...]

    def restrict(self, u: Tensor) -> Tensor:
        """Select the coarse points: (..., *fine) to (..., *coarse)."""
        kept: tuple[EllipsisType | slice, ...] = (
            ...,
            *(slice(x.start, x.stop, x.step) for x in self.knots),
        )
        return u[kept].contiguous()

    def refine(self, u: Tensor, circular: Sequence[bool]) -> Tensor:
        """Interpolate (..., *coarse) to (..., *fine), with a periodic spline on circular axes."""
        axes = zip(self.knots, self.fine, circular, strict=True)
        for axis, (knots, n, wraps) in enumerate(axes, u.dim() - len(self.fine)):
            u = interpolate_axis(u, axis, knots, n, circular=wraps)
        return u


def interpolate_axis(u: Tensor, axis: int, knots: range, n: int, *, circular: bool) -> Tensor:
    """Interpolate functions along an axis by cubic splines.

    A spline is periodic, or has not-a-knot ends: it is exact for cubic polynomials. With three
    knots it is a parabola, with two a line. Points beyond the outermost knots are extrapolated. A
    function with a value that is not finite becomes NaN along the axis. The functions are
    interpolated in float64 on the CPU, in pieces of bounded memory.

    Args:
        u: values at the knots along `axis`.
        axis: of the knots.
        knots: their indices among the n points, which are equidistant.
        n: the number of points.
        circular: whether point n is point 0 again.

    Returns:
        As `u`, with n points along `axis`.

    Source: de Boor 1978, A Practical Guide to Splines, chapter IV.
    """
    if len(knots) == n:
        return u
    rows = u.movedim(axis, -1)
    functions = rows.reshape(-1, len(knots))
    fine = functions.new_empty(len(functions), n)
    numbers = NUMBERS_OF_A_KNOT * len(knots) + NUMBERS_OF_A_POINT * n
    piece = max(1, PIECE // (8 * numbers))
    for some, result in zip(torch.split(functions, piece), torch.split(fine, piece), strict=True):
        values = _splines(some.cpu().double().numpy(), knots, n, circular=circular)
        result.copy_(torch.from_numpy(values).to(u.dtype))
    return fine.reshape(*rows.shape[:-1], n).movedim(-1, axis)


def _splines(y: NDArray[Any], knots: range, n: int, *, circular: bool) -> NDArray[Any]:
    """Interpolate (functions, knots) to (functions, n)."""
    from scipy.interpolate import CubicSpline

    finite = np.isfinite(y).all(1)  # scipy refuses others
    x, y = np.array(knots, dtype=float), np.where(finite[:, None], y, 0.0)
    if circular:  # the first knot again, one period later
        x, y = np.append(x, x[0] + n), np.hstack([y, y[:, :1]])
    spline = CubicSpline(x, y, axis=1, bc_type="periodic" if circular else "not-a-knot")
    values: NDArray[Any] = np.where(finite[:, None], spline(np.arange(n)), np.nan)
    return values


def interpolated_errors(  # noqa: PLR0913  as those of `evaluate`
    module: nn.Module,
    normaliser: Normaliser,
    samples: AnySampleSet,
    coarse: CoarseGrid,
    circular: Mapping[str, Sequence[bool]],
    *,
    axes_of: Mapping[str, GridAxes] | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
    loop: Rollout | None = None,
) -> Metrics:
    """Measure the errors of predictions on a coarse grid, interpolated to the grid of the samples.

    Args:
        module: takes inputs by name, returns a tensor or a dictionary.
        normaliser: of the run that trained it.
        samples: inputs and truth on the fine grid; the inputs are subsampled.
        coarse: the grid of the predictions.
        circular: for each input and output on the grid, whether an axis is interpolated by periodic
            splines. Functions that are not here have no grid and stay as they are.
        axes_of: for each output the axes of its grid, for H1 errors; not measured for others.
        device: as in the settings.
        precision: as in the settings.
        batch: samples at a time.
        loop: how steps in time follow each other, if the truth has an axis of time. All steps are
            predicted on the coarse grid, and each is interpolated.
    """
    policy = policy_of(precision, device_of(device))
    prepare(module, normaliser, policy)
    loader = DeviceLoader.of(samples, policy, None, normaliser.units(loop))
    scales = normaliser.in_units(loader.units)
    names = list(head_of(samples).outputs)
    grids = {k: (axes_of or {}).get(k, GridAxes((), ())) for k in names}
    tallies = {k: ErrorSums(loader.units.outputs.get(k, 1.0)) for k in names}
    with at_rest(module), closing(loader):
        for some in loader.in_order(batch):
            inputs, steps = _restricted(some.inputs, coarse, circular), steps_of(some.truth, loop)
            outputs = apply(module, scales, inputs, policy, loop, steps)
            for name, tally in tallies.items():
                values = all_values(outputs[name])
                wide = values.to(torch.promote_types(values.dtype, torch.float32))
                fine = coarse.refine(wide, circular[name]) if name in circular else wide
                truth = some.truth[name]
                weights = some.weights.get(name)
                tally.add(fine, truth, grids[name], weights, timed=loop is not None)
    return average(list(tallies.values()), 0)


def _restricted(
    inputs: FieldValues, coarse: CoarseGrid, circular: Mapping[str, Sequence[bool]]
) -> FieldValues:
    """Subsample functions, (batch, ..., *grid); vectors stay as they are."""
    return {k: coarse.restrict(all_values(x)) if k in circular else x for k, x in inputs.items()}
