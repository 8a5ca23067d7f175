"""Resampling is exact for functions that the series of both grids determine."""

import math

import pytest
import torch

from opdsl.bases import interpolant
from opdsl.data.derive.resample import SeriesAxis, SphereAxes, greatest_degree, resample
from opdsl.nn.sphere.harmonics import inverse_sht
from opdsl.nn.sphere.sampling import latitudes
from opdsl.sampling import positions

LATITUDES = ["gauss_legendre", "lobatto", "equiangular", "centres"]


def axis(word, ends=None):
    family, lift = interpolant("auto", ends, word)
    return SeriesAxis(family, lift, word)


def at(word, n):
    return torch.tensor(positions(word, n), dtype=torch.float64)


def close(found, expected):
    assert (found.double() - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("word", ["lower", "upper", "centres"])
@pytest.mark.parametrize("sizes", [(20, 33), (33, 20), (21, 48), (17, 16)])
def test_band_limited_functions_on_a_ring_are_exact(word, sizes):
    def f(t):
        return 1 + torch.sin(4 * math.pi * t) - 0.3 * torch.cos(14 * math.pi * t + 1)

    have, want = (f(at(word, n))[None, None].expand(3, 2, -1) for n in sizes)
    close(resample(have.float(), [axis(word)], sizes[1:]), want)


@pytest.mark.parametrize(
    ("ends", "word", "f"),
    [
        (("dirichlet",) * 2, "both", lambda t: 2 - 3 * t + torch.sin(math.pi * 5 * t)),
        (("none",) * 2, "both", lambda t: 2 + t + torch.sin(math.pi * 2 * t)),
        (("dirichlet",) * 2, "interior", lambda t: torch.sin(math.pi * 5 * t)),
        (("neumann",) * 2, "both", lambda t: 1 + torch.cos(math.pi * 6 * t)),
        (("none",) * 2, "centres", lambda t: 1 + torch.cos(math.pi * 6 * t)),
        (("dirichlet", "neumann"), "both", lambda t: 4 + torch.sin(math.pi * 2.5 * t)),
    ],
)
@pytest.mark.parametrize("sizes", [(12, 31), (31, 12), (16, 13)])
def test_functions_between_two_ends_are_exact_in_their_series(ends, word, f, sizes):
    have, want = (f(at(word, n))[None, None] for n in sizes)
    close(resample(have.float(), [axis(word, ends)], sizes[1:]), want)


def test_each_axis_has_its_series_and_other_axes_stay():
    def f(x, y):
        return torch.sin(4 * math.pi * x)[:, None] * (1 + y + torch.sin(math.pi * 3 * y))

    parts = [axis("lower"), axis("both", ("none", "none"))]
    have = f(at("lower", 18), at("both", 15))
    want = f(at("lower", 24), at("both", 40))
    scales = torch.arange(1.0, 11.0).reshape(5, 2, 1, 1, 1).double()
    close(resample((have * scales).float(), parts, (24, 40)), want * scales)
    assert resample(have[None], parts, (18, 15)) is not None


def test_what_the_coarser_grid_cannot_have_is_removed_and_not_aliased():
    wave = torch.sin(2 * math.pi * 9 * at("lower", 64))[None]
    assert resample(wave, [axis("lower")], (16,)).abs().max() < 1e-12
    # every fourth point would be a wave of frequency 7
    assert wave[:, ::4].abs().max() > 0.5


@pytest.mark.parametrize("word", LATITUDES)
def test_harmonics_on_a_sphere_are_exact(word):
    degree = greatest_degree(18, word)
    z = torch.randn(2, degree + 1, degree + 1, 1, dtype=torch.complex128)
    z[:, :, 0] = z[:, :, 0].real.to(z.dtype)
    l, m = torch.arange(degree + 1)[:, None], torch.arange(degree + 1)  # noqa: E741
    z[:, l.expand_as(z[0, ..., 0]) < m] = 0
    have, want = (inverse_sht(z, s, word)[:, None, ..., 0] for s in ((18, 36), (31, 50)))
    close(resample(have.float(), [SphereAxes(word)], (31, 50)), want)


@pytest.mark.parametrize("word", LATITUDES)
def test_the_greatest_degree_is_the_one_that_quadrature_has(word):
    n = 11
    cos, weights = latitudes(n, word)
    degree = greatest_degree(n, word)

    def error(k):
        p = torch.tensor([0.0] * k + [1.0], dtype=torch.float64)
        from numpy.polynomial.legendre import legval

        values = torch.from_numpy(legval(cos.numpy(), p.numpy()))
        return abs(float((weights * values**2).sum()) - 2 / (2 * k + 1))

    assert error(degree) < 1e-12
    assert word in {"equiangular", "centres"} or error(degree + 1) > 1e-6
