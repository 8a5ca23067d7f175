"""OP0653: data that keep the declared conditions, and data that do not."""

import math

import numpy as np
import pytest
import torch

from opdsl.data.bind.end_conditions import AxisEnds, contradictions, end_warnings, extrapolation
from opdsl.data.bind.samples import Samples
from opdsl.sampling import SAMPLINGS, positions


def points(sampling, n):
    return torch.tensor(positions(sampling, n), dtype=torch.float32)


def found(v, ends, sampling="both"):
    return list(contradictions(v.reshape(1, 1, -1), [AxisEnds("x", ends, sampling)]))


WALLS, FREE, MIXED = ("dirichlet",) * 2, ("neumann",) * 2, ("dirichlet", "neumann")


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("n", [16, 33, 200])
def test_functions_with_the_condition_cause_no_warning(sampling, n):
    t = points(sampling, n)
    for k in (1, 2, 3):
        assert not found((math.pi * k * t).sin(), WALLS, sampling)
        assert not found((math.pi * k * t).cos(), FREE, sampling)
        assert not found((math.pi * (k - 0.5) * t).sin(), MIXED, sampling)
    assert not found(t * (1 - t) * (3 * t).exp(), WALLS, sampling)
    assert not found(t**2 * (1 - t) ** 2 * t.exp(), FREE, sampling)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("n", [16, 33, 200])
def test_functions_without_it_are_named_with_the_figure(sampling, n):
    t = points(sampling, n)
    value = (1 + t).reshape(1, 1, -1)
    rms = float(value.square().mean().sqrt())
    low, high = contradictions(value, [AxisEnds("x", WALLS, sampling)])
    assert (low.side, high.side) == ("lower", "upper")
    assert low.part == pytest.approx(1 / rms, rel=1e-4)
    assert high.part == pytest.approx(2 / rms, rel=1e-4)
    (slope, _) = contradictions(value, [AxisEnds("x", FREE, sampling)])
    assert slope.part == pytest.approx(1, rel=1e-3)  # the slope is 1 everywhere


def test_one_end_may_be_wrong():
    t = points("both", 33)
    (wrong,) = found((math.pi * t).cos() + 1, WALLS)
    assert (wrong.side, wrong.condition) == ("lower", "dirichlet")
    assert not found((math.pi * t).cos() + 1, ("none", "dirichlet"))
    assert not found((math.pi * t).cos() + 1, None)


def test_noise_is_no_slope():
    torch.manual_seed(0)
    t = points("both", 33)
    v = (math.pi * t).cos() + 0.01 * torch.randn(20, 1, 33)
    assert not list(contradictions(v, [AxisEnds("x", FREE, "both")]))


def test_the_worst_sample_counts():
    t = points("both", 33)
    v = torch.stack([(math.pi * t).sin() for _ in range(50)])[:, None]
    v[17] += 0.1
    (low, high) = contradictions(v, [AxisEnds("x", WALLS, "both")])
    assert low.part == pytest.approx(0.1 / float(v[17].square().mean().sqrt()), rel=1e-4)
    assert high.part == pytest.approx(low.part, rel=1e-4)


def test_several_axes_and_steps_in_time():
    x, y = points("both", 17), points("lower", 16)
    v = torch.einsum("i,j->ij", (math.pi * x).sin(), (2 * math.pi * y).cos() + 1.5)
    axes = [AxisEnds("x", WALLS, "both"), AxisEnds("y", None, "lower")]
    assert not list(contradictions(v.expand(3, 4, 1, 17, 16), axes))
    (wrong, _) = contradictions((v + 0.5).expand(3, 4, 1, 17, 16), axes)
    assert wrong.axis == "x"


def test_few_points_and_zero_functions_cause_no_warning():
    assert not found(torch.ones(2), FREE)
    assert not found(torch.zeros(33), WALLS)


@pytest.mark.parametrize(("first", "order"), [(0.0, 1), (0.5, 0), (1.0, 0), (0.5, 1), (1.0, 1)])
def test_extrapolations_are_exact_for_polynomials(first, order):
    nodes = np.arange(4) + first
    cubic = np.polynomial.Polynomial([2.0, -3.0, 0.5, 0.25])
    result = np.dot(extrapolation(first, 4, order), cubic(nodes))
    assert result == pytest.approx(cubic.deriv(order)(0.0) if order else 2.0)


def test_one_warning_for_each_output():
    v = torch.ones(3, 1, 9, 9)
    samples = Samples({}, {"u": v, "w": v}, "d", "d.h5", "", (9, 9))
    axes = [AxisEnds("x", WALLS, "both"), AxisEnds("y", WALLS, "both")]
    (said,) = end_warnings(
        samples, {"u": axes, "w": [AxisEnds(a.name, None, "both") for a in axes]}
    )
    assert (said.code, said.severity, said.file) == ("OP0653", "warning", "d.h5")
    assert said.message.startswith("`u` is up to 1 of its RMS at the lower end of `x`, where")
    assert str(said.notes).count("end of") == 3
