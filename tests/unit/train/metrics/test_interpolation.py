"""Cubic interpolation against polynomials, scipy, and the order of its error."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from scipy.sparse.linalg import spsolve
from torch import nn

from opdsl.sampling import SAMPLINGS, positions
from opdsl.train.config.schema import Normalise
from opdsl.train.engine.normalise import Normaliser
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.interpolation import (
    CoarseGrid,
    apply_matrices,
    interpolated_error,
    spline_matrix,
)
from opdsl.train.metrics.norms import GridAxes

NOTHING = Normalise(inputs="none", outputs="none")


def points(sampling, n):
    return torch.tensor(positions(sampling, n), dtype=torch.float64)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("n", [4, 5, 9])
def test_cubic_polynomials_are_exact(sampling, n):
    def cubic(t):
        return 1 - 2 * t + 3 * t**2 - 5 * t**3

    matrix = spline_matrix(sampling, n, 17, periodic=False)
    assert matrix.shape == (17, n)
    torch.testing.assert_close(
        matrix @ cubic(points(sampling, n)), cubic(points(sampling, 17)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("n", "degree"), [(2, 1), (3, 2)])
def test_few_points_carry_lower_degrees(n, degree):
    matrix = spline_matrix("both", n, 9, periodic=False)
    expected = points("both", 9) ** degree
    torch.testing.assert_close(matrix @ points("both", n) ** degree, expected)


@pytest.mark.parametrize(
    ("sampling", "periodic"),
    [("both", False), ("centres", False), ("lower", True), ("upper", True)],
)
def test_the_order_is_four(sampling, periodic):
    def smooth(t):
        return torch.sin(2 * torch.pi * t + 0.3)

    errors = []
    for n in (64, 128):
        matrix = spline_matrix(sampling, n, 6 * n, periodic=periodic)
        errors.append(
            (matrix @ smooth(points(sampling, n)) - smooth(points(sampling, 6 * n))).abs()
        )
    order = np.log2(float(errors[0].max() / errors[1].max()))
    assert 3.6 < order < 4.4


def test_a_periodic_axis_has_no_seam():
    """A shift by one coarse spacing commutes with interpolation only without ends."""
    x = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for sampling in ("lower", "upper", "centres"):
        matrix = spline_matrix(sampling, 8, 24, periodic=True)
        torch.testing.assert_close(matrix @ x.roll(1), (matrix @ x).roll(3))


def test_two_axes_agree_with_scipy():
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sizes = ((6, 11), (7, 13))
    matrices = [spline_matrix("both", n, m, periodic=False) for n, m in sizes]
    got = apply_matrices(x, matrices)
    coarse = [np.array(positions("both", n)) for n, _ in sizes]
    fine = np.stack(np.meshgrid(*(positions("both", m) for _, m in sizes), indexing="ij"), -1)
    for i in range(2):
        for j in range(3):
            values = x[i, j].numpy()
            # the solver by default is iterative, of an error of 1e-5
            oracle = RegularGridInterpolator(coarse, values, method="cubic", solver=spsolve)(fine)
            np.testing.assert_allclose(got[i, j].numpy(), oracle, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_error_is_that_of_the_interpolated_prediction(dims):
    """With the identity as model and tensor products of cubics as data it vanishes."""
    t = points("both", 9)
    values = (t - 2 * t**3 + 1).float()
    axes = "xyz"[:dims]
    a = torch.einsum(",".join(axes) + "->" + axes, *[values] * dims).expand(5, 2, *(9,) * dims)
    noise = torch.rand(a.shape, generator=torch.Generator().manual_seed(0))
    truth = {"u": a.clone(), "v": a + noise}
    sizes = (9,) * dims
    samples = Set({"a": a.clone()}, truth, sizes)
    module, scales = Twice(), Normaliser.fit(samples, NOTHING)
    coarse = CoarseGrid((5,) * dims, (slice(0, None, 2),) * dims)
    grids = {k: GridAxes.unit((False,) * dims) for k in truth}
    error = interpolated_error(module, scales, samples, coarse, grids, device="cpu", batch=2)
    expected = rel_l2(a.double(), truth["v"].double()).mean() / 2  # the mean over two outputs
    assert error == pytest.approx(float(expected), rel=1e-5)
    assert module.shapes == {(5,) * dims}
    assert module.training


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.shapes = set()

    def forward(self, a):
        self.shapes.add(tuple(a.shape[2:]))
        return {"u": a, "v": a}


class Set(SimpleNamespace):
    def __init__(self, inputs, outputs, resolution):
        super().__init__(
            inputs=inputs, outputs=outputs, resolution=resolution, name="s", fingerprint="f"
        )

    def __len__(self):
        return len(self.inputs["a"])
