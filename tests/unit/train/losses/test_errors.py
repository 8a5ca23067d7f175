"""Every error of the catalogue against torch, a closed form or the definition of its benchmark."""

from math import erf, exp, inf, pi, sqrt

import pytest
import torch
from torch.nn import functional

from opdsl.nn.points.packed import Packed
from opdsl.train.losses.expressions.broadcasting import split_channels
from opdsl.train.losses.expressions.catalogue import ERRORS
from opdsl.train.losses.expressions.errors import MEASURES, ErrorInputs, band_rms
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.physics.grid import GridCalculus

PLANE = GridAxes((True, False), (2.0, 3.0))


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 2, 8, 9, generator=generator, dtype=torch.float64) for _ in "uv"]


def error(name, pred, true, **given):
    grid = given.pop("grid", PLANE)
    functions, weights = given.pop("functions", {}), given.pop("weights", None)
    calculus = GridCalculus(grid, "spectral") if ERRORS[name].domains == "derivatives" else None
    inputs = ErrorInputs(pred, true, weights, grid, calculus, given, functions)
    return MEASURES[name](inputs)


def means(x):
    return x.flatten(1).mean(1)


def test_every_error_of_the_catalogue_is_computed():
    assert MEASURES.keys() == ERRORS.keys()


@pytest.mark.parametrize(
    ("name", "loss", "options"),
    [
        ("mse", functional.mse_loss, {}),
        ("mae", functional.l1_loss, {}),
        ("huber", lambda u, v: functional.huber_loss(u, v, delta=0.3), {"delta": 0.3}),
        ("huber", functional.huber_loss, {}),
    ],
)
def test_means_are_those_of_torch(pair, name, loss, options):
    expected = torch.stack([loss(u, v) for u, v in zip(*pair, strict=True)])
    torch.testing.assert_close(error(name, *pair, **options), expected)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 4.0])
def test_p_norms_are_means_over_the_domain_of_sums_over_channels(pair, p):
    u, v = pair

    def norm(x):
        return x.abs().pow(p).sum(1).flatten(1).mean(1) ** (1 / p)

    torch.testing.assert_close(error("lp", u, v, p=p), norm(u - v))
    torch.testing.assert_close(error("rel_lp", u, v, p=p), norm(u - v) / norm(v))


def test_norms_of_two_are_special_cases(pair):
    torch.testing.assert_close(error("l2", *pair), error("lp", *pair, p=2.0))
    torch.testing.assert_close(error("rel_l2", *pair), error("rel_lp", *pair, p=2.0))
    torch.testing.assert_close(error("rmse", *pair), error("mse", *pair).sqrt())
    torch.testing.assert_close(error("l2", *pair), error("rmse", *pair) * sqrt(2))
    expected = (pair[0] - pair[1]).flatten(1).abs().amax(1)
    torch.testing.assert_close(error("max_error", *pair), expected)


def test_a_norm_that_vanishes_has_a_gradient_of_zero():
    for name, options in (("rmse", {}), ("l2", {}), ("lp", {"p": 3.0}), ("brmse", {})):
        u = torch.ones(1, 1, 4, 4, requires_grad=True)
        error(name, u, torch.ones(1, 1, 4, 4), **options).sum().backward()
        assert torch.equal(u.grad, torch.zeros(1, 1, 4, 4)), name


def test_the_quantile_error_is_least_at_the_quantile():
    true = torch.linspace(0, 1, 101, dtype=torch.float64)[None, None]
    levels = torch.linspace(0, 1, 41, dtype=torch.float64)
    losses = [
        error("quantile", x * torch.ones_like(true), true, q=0.9, grid=GridAxes((False,), (1.0,)))
        for x in levels
    ]
    assert float(levels[int(torch.stack(losses).argmin())]) == pytest.approx(0.9)


# ------------------------------------------------------------------------------ probabilities


def test_the_crps_of_a_normal_distribution_is_its_integral():
    """CRPS = integral of (F(x) - [x >= y])^2, by the trapezoidal rule."""
    mean, sigma, y = 0.3, 0.7, 1.1
    x = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    cdf = (1 + torch.erf((x - mean) / (sigma * sqrt(2)))) / 2
    expected = float(torch.trapezoid((cdf - (x >= y).double()).square(), x))
    ones = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    found = error("crps", mean * ones, y * ones, functions={"deviation": -sigma * ones})
    assert float(found) == pytest.approx(expected, rel=1e-4)
    z = (y - mean) / sigma
    closed = sigma * (z * erf(z / sqrt(2)) + 2 * exp(-z * z / 2) / sqrt(2 * pi) - 1 / sqrt(pi))
    assert float(found) == pytest.approx(closed)


@pytest.mark.parametrize("fair", [False, True])
def test_the_crps_of_members_is_the_sum_over_pairs(fair):
    generator = torch.Generator().manual_seed(1)
    members = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)  # 2 channels of 3
    true = torch.randn(2, 2, 5, generator=generator, dtype=torch.float64)
    total = torch.zeros(2, dtype=torch.float64)
    for c in range(2):
        x, y = members[:, 3 * c : 3 * c + 3], true[:, c]
        pairs = sum((x[:, i] - x[:, j]).abs() for i in range(3) for j in range(3))
        score = (x - y[:, None]).abs().mean(1) - pairs / (2 * 3 * (2 if fair else 3))
        total += score.mean(1) / 2
    grid = GridAxes((True,), (1.0,))
    torch.testing.assert_close(error("crps", members, true, fair=fair, grid=grid), total)


# ------------------------------------------------------------------------------ derivatives


def wave(n, kind=torch.sin):
    x = torch.arange(n, dtype=torch.float64) / n
    return kind(2 * pi * 3 * x)[None, None]


def test_the_exact_h1_norm_of_a_wave():
    """||sin(6 pi x)||^2 = 1/2 on a ring of length 1, and its derivative has (6 pi)^2 / 2."""
    grid, u = GridAxes((True,), (1.0,)), wave(32)
    expected = sqrt((1 + (6 * pi) ** 2) / 2)
    zero = torch.zeros_like(u)
    assert float(error("h1_spectral", u, zero, grid=grid)) == pytest.approx(expected, rel=1e-12)
    assert float(error("rel_h1_spectral", 1.5 * u, u, grid=grid)) == pytest.approx(0.5)


def test_the_h1_norm_by_differences_has_second_order():
    grid, expected, errors = GridAxes((True,), (1.0,)), sqrt((1 + (6 * pi) ** 2) / 2), []
    for n in (64, 128):
        u = wave(n)
        errors.append(abs(float(error("h1", u, torch.zeros_like(u), grid=grid)) - expected))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert float(error("rel_h1", 1.5 * u, u, grid=grid)) == pytest.approx(0.5)


def test_the_norm_of_h_div_adds_the_divergence():
    """v = (sin(2 pi x), 0): ||v||^2 = 1/2, div v = 2 pi cos(2 pi x) with (2 pi)^2 / 2."""
    grid = GridAxes((True, True), (1.0, 1.0))
    x = torch.arange(16, dtype=torch.float64) / 16
    first = torch.sin(2 * pi * x)[:, None].expand(16, 16)
    v = torch.stack([first, torch.zeros_like(first)])[None]
    zero = torch.zeros_like(v)
    expected = sqrt((1 + (2 * pi) ** 2) / 2)
    assert float(error("h_div", v, zero, grid=grid)) == pytest.approx(expected)
    assert float(error("rel_h_div", 1.1 * v, v, grid=grid)) == pytest.approx(0.1)


# ------------------------------------------------------------------------------ bands and ends


def test_bands_divide_the_root_mean_square(pair):
    u = pair[0]
    parts = [band_rms(u, a, b) for a, b in ((0, 2), (2, 4), (4, inf))]
    total = torch.stack(parts).square().sum(0).sqrt()
    torch.testing.assert_close(total, means(u.square()).sqrt())


def test_a_band_sees_the_waves_in_it():
    u, grid = wave(32) + 2.0, GridAxes((True,), (1.0,))
    zero = torch.zeros_like(u)
    assert float(error("bands", u, zero, low=2, high=4, grid=grid)) == pytest.approx(sqrt(0.5))
    assert float(error("bands", u, zero, high=2, grid=grid)) == pytest.approx(2.0)
    assert float(error("bands", u, zero, low=4, grid=grid)) == pytest.approx(0.0, abs=1e-12)
    assert float(error("rel_bands", 1.1 * u, u, low=3, high=4, grid=grid)) == pytest.approx(0.1)


def test_the_ends_are_those_of_axes_that_are_not_periodic(pair):
    u, v = pair
    ends = torch.cat([(u - v)[..., :1], (u - v)[..., -1:]], -1)
    torch.testing.assert_close(error("boundary", u, v), means(ends.square()))
    lower = means((u - v)[..., 0].square())
    torch.testing.assert_close(error("boundary", u, v, side="lower"), lower)
    torch.testing.assert_close(error("brmse", u, v), means(ends.square()).sqrt())


def test_the_boundary_error_of_a_plane_is_that_of_pdebench(pair):
    """Source: Takamoto et al. 2022, metrics.py: the sum over both axes by 2 nx + 2 ny points."""
    u, v = (x[:, :1] for x in pair)
    box = GridAxes((False, False), (1.0, 1.0))
    e = (u - v)[:, 0].square()
    along_x, along_y = e[:, 0] + e[:, -1], e[:, :, 0] + e[:, :, -1]
    expected = ((along_x.sum(1) + along_y.sum(1)) / (2 * 8 + 2 * 9)).sqrt()
    torch.testing.assert_close(error("brmse", u, v, grid=box), expected)


def test_normalised_errors_are_those_of_the_benchmarks(pair):
    u, v = (x[:, :1] for x in pair)
    square = means((u - v).square())
    torch.testing.assert_close(error("nrmse", u, v), (square / means(v.square())).sqrt())
    variance = v.flatten(1).var(1, unbiased=False)
    torch.testing.assert_close(error("vrmse", u, v), (square / (variance + 1e-7)).sqrt())


# ------------------------------------------------------------------------------ points and weights

EVERYWHERE = sorted(k for k, x in ERRORS.items() if x.domains == "any" and k != "crps")
OPTIONS = {"lp": {"p": 3.0}, "rel_lp": {"p": 3.0}, "quantile": {"q": 0.2}}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_weights_count_a_point_as_often_as_they_say(pair, name):
    """A point of weight 2 is a point that occurs twice."""
    u, v = (x.flatten(2)[..., :5] for x in pair)
    weights = torch.tensor([1.0, 2.0, 1.0, 0.0, 1.0], dtype=torch.float64)[None, None]
    repeated = torch.tensor([0, 1, 1, 2, 4])
    options, grid = OPTIONS.get(name, {}), GridAxes((), ())
    found = error(name, u, v, weights=weights, grid=grid, **options)
    expected = error(name, u[..., repeated], v[..., repeated], grid=grid, **options)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_masked_values_that_are_not_finite_do_no_harm(pair, name):
    u, v = (x.flatten(2)[..., :5].clone().requires_grad_() for x in pair)
    holes = torch.tensor([True, True, True, False, True])
    weights, grid = holes.double()[None, None], GridAxes((), ())
    filled = torch.where(holes, v, torch.nan)
    error(name, u, filled, weights=weights, grid=grid, **OPTIONS.get(name, {})).sum().backward()
    assert torch.isfinite(u.grad).all()


@pytest.mark.parametrize("name", EVERYWHERE)
def test_packed_samples_have_the_errors_of_each_alone(pair, name):
    u, v = (x.flatten(2) for x in pair)
    sizes, grid, options = (4, 7, 5), GridAxes((), ()), OPTIONS.get(name, {})
    packed = [Packed.of(x[i, :, :n] for i, n in enumerate(sizes)) for x in (u, v)]
    found = error(name, *packed, grid=grid, **options)
    alone = [
        error(name, u[i : i + 1, :, :n], v[i : i + 1, :, :n], grid=grid, **options)
        for i, n in enumerate(sizes)
    ]
    torch.testing.assert_close(found, torch.cat(alone))


def test_channels_become_samples(pair):
    u, _ = pair
    split = split_channels(u, u)
    torch.testing.assert_close(split[3], u[1, 1:])
    packed = Packed.of(x.flatten(1) for x in u)
    torch.testing.assert_close(split_channels(packed, packed).parts[3], u[1, 1:].flatten(1))
    weights = torch.ones(1, 1, 8, 9)
    assert split_channels(weights, u).shape == (6, 1, 8, 9)


@pytest.mark.parametrize("name", sorted(k for k, x in ERRORS.items() if x.degree is not None))
def test_the_degree_says_how_an_error_grows_with_the_unit(pair, name):
    u, v = pair
    options = OPTIONS.get(name, {}) | ({"low": 1} if "low" in ERRORS[name].options else {})
    if name == "crps":
        u = torch.cat([u, u + 1], 1)
    small, large = error(name, u, v, **options), error(name, 8 * u, 8 * v, **options)
    torch.testing.assert_close(large, small * 8.0 ** ERRORS[name].degree)
