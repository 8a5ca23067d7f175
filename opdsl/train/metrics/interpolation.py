"""The error of a prediction on a coarse grid that cubic splines interpolate to a finer one.

A model is of use at a fine resolution where its own prediction there has a smaller error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from opdsl.nn.points.batch import all_values
from opdsl.sampling import GridSampling, positions
from opdsl.train.engine.device import device_of
from opdsl.train.engine.loader import DeviceLoader, FieldValues, SampleSet
from opdsl.train.engine.normalise import Normaliser
from opdsl.train.engine.precision import policy_of
from opdsl.train.metrics.error_sums import ErrorSums, average
from opdsl.train.metrics.evaluate import apply, at_rest, prepare
from opdsl.train.metrics.norms import GridAxes

NO_DERIVATIVES = GridAxes((), ())


@dataclass(frozen=True, slots=True)
class CoarseGrid:
    """A grid whose points are points of a finer one.

    Attributes:
        resolution: its points on each axis.
        kept: for each axis, which points of the finer grid these are.
    """

    resolution: tuple[int, ...]
    kept: tuple[slice, ...]


def spline_matrix(sampling: GridSampling, n: int, m: int, *, periodic: bool) -> Tensor:
    """Return the matrix, (m, n) in float64, of cubic interpolation from n to m points of an axis.

    The spline is periodic, or has not-a-knot ends: it is exact for cubic polynomials. With three
    points it is a parabola, with two a line. Points beyond the outermost ones are extrapolated.

    Source: de Boor 1978, A Practical Guide to Splines, chapter IV.
    """
    if n == m:
        return torch.eye(n, dtype=torch.float64)
    import numpy as np
    from scipy.interpolate import CubicSpline

    x, values = np.array(positions(sampling, n)), np.eye(n)
    if periodic:  # the first point again, at the end of the period
        x, values = np.append(x, x[0] + 1), np.vstack([values, values[:1]])
    spline = CubicSpline(x, values, bc_type="periodic" if periodic else "not-a-knot")
    return torch.from_numpy(spline(np.array(positions(sampling, m))))


def apply_matrices(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply the last axes of (..., *coarse) by one matrix each; returns (..., *fine)."""
    for axis, matrix in enumerate(matrices, x.dim() - len(matrices)):
        x = (x.movedim(axis, -1) @ matrix.to(x).T).movedim(-1, axis)
    return x


def interpolated_error(
    module: nn.Module,
    normaliser: Normaliser,
    samples: SampleSet,
    coarse: CoarseGrid,
    axes_of: Mapping[str, GridAxes],
    *,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
) -> float:
    """Measure the relative L2 error of predictions on a coarse grid, interpolated to the samples.

    Args:
        module: takes inputs by name, returns a tensor or a dictionary.
        normaliser: of the run that trained it.
        samples: inputs and truth on the fine grid; the inputs are subsampled.
        coarse: the grid of the predictions.
        axes_of: for each output the axes of its grid, with their samplings.
        device: as in the settings.
        precision: as in the settings.
        batch: samples at a time.
    """
    policy = policy_of(precision, device_of(device))
    prepare(module, normaliser, policy)
    loader = DeviceLoader.of(samples, policy, None, normaliser.units(None))
    scales = normaliser.in_units(loader.units)
    matrices = {k: _matrices(axes_of[k], coarse, samples.resolution) for k in samples.outputs}
    tallies = {k: ErrorSums(loader.units.outputs.get(k, 1.0)) for k in samples.outputs}
    with at_rest(module):
        for some in loader.in_order(batch):
            outputs = apply(module, scales, _subsampled(some.inputs, coarse), policy)
            for name, tally in tallies.items():
                values = all_values(outputs[name])
                wide = values.to(torch.promote_types(values.dtype, torch.float32))
                fine = apply_matrices(wide, matrices[name])
                tally.add(fine, some.truth[name], NO_DERIVATIVES, None, timed=False)
    return average(list(tallies.values()), 0).rel_l2


def _matrices(grid: GridAxes, coarse: CoarseGrid, resolution: Sequence[int]) -> tuple[Tensor, ...]:
    rows = zip(grid.points, coarse.resolution, resolution, grid.periodic, strict=True)
    return tuple(spline_matrix(word, n, m, periodic=wraps) for word, n, m, wraps in rows)


def _subsampled(inputs: FieldValues, coarse: CoarseGrid) -> FieldValues:
    """Subsample functions, (batch, channels, *grid); vectors stay as they are."""
    where = (slice(None), slice(None), *coarse.kept)
    functions = {k for k, x in inputs.items() if all_values(x).dim() == len(coarse.kept) + 2}
    return {k: all_values(x)[where] if k in functions else x for k, x in inputs.items()}
