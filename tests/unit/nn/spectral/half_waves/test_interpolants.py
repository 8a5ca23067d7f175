"""Resampling and derivatives in every basis, against closed forms in float64."""

import itertools

import pytest
import torch

from opdsl.bases import HALF_WAVES, capacity, carried, interpolant, vanishing_interpolant
from opdsl.compiler import check
from opdsl.lower.module import lower
from opdsl.nn.spectral.half_waves.interpolants import (
    FLOAT64,
    derivative_matrix,
    fractions,
    resampling_matrix,
)
from opdsl.nn.spectral.half_waves.transforms import analysis, synthesis
from opdsl.nn.spectral.resample import Resample, resample
from opdsl.sampling import SAMPLINGS
from opdsl.train.losses.h1_spectral import rel_h1_spectral, spectral_derivatives
from opdsl.train.metrics.norms import GridAxes

KIND = {"dtype": torch.float64, "device": torch.device("cpu")}
CONDITIONS = ("dirichlet", "neumann", "none")
PAIRS = [(a, b) for a, b in itertools.product(HALF_WAVES, SAMPLINGS) if carried(a, b)]
FIRST = {"sine": 1.0, "cosine": 0.0, "quarter_sine": 0.5, "quarter_cosine": 0.5}


def wave(family, k, t):
    """Value and slope of the function k of a family at t, by hand."""
    a = torch.pi * (k + FIRST[family])
    if family.endswith("cosine"):
        return (a * t).cos(), -a * (a * t).sin()
    return (a * t).sin(), a * (a * t).cos()


def close(found, want, atol=1e-11):
    torch.testing.assert_close(found, want, atol=atol, rtol=0)


@pytest.mark.parametrize(("family", "sampling"), PAIRS)
@pytest.mark.parametrize("n", [9, 10])
def test_analysis_finds_the_coefficients_of_every_function(family, sampling, n):
    m = capacity(family, sampling, n)
    phi = torch.stack([wave(family, k, fractions(sampling, n))[0] for k in range(m)], 1)
    close(synthesis(family, sampling, n, m, FLOAT64), phi)
    close(analysis(family, sampling, n, m, FLOAT64) @ phi, torch.eye(m, dtype=torch.float64))


@pytest.mark.parametrize(("family", "sampling"), PAIRS)
@pytest.mark.parametrize(("n", "size"), [(9, 20), (10, 17), (20, 9), (17, 10), (12, 13)])
def test_resampling_is_exact_for_functions_that_both_grids_resolve(family, sampling, n, size):
    matrix = resampling_matrix(family, "none", sampling, n, size, **KIND)
    for k in range(capacity(family, sampling, min(n, size))):
        before, after = (wave(family, k, fractions(sampling, x))[0] for x in (n, size))
        close(matrix @ before, after)


@pytest.mark.parametrize(("family", "sampling"), PAIRS)
def test_coarsening_removes_what_the_coarse_grid_does_not_resolve(family, sampling):
    matrix = resampling_matrix(family, "none", sampling, 20, 9, **KIND)
    for k in range(capacity(family, sampling, 9), capacity(family, sampling, 20)):
        close(
            matrix @ wave(family, k, fractions(sampling, 20))[0],
            torch.zeros(9, dtype=torch.float64),
        )


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("ends", list(itertools.product(CONDITIONS, repeat=2)))
@pytest.mark.parametrize(("n", "size"), [(9, 20), (10, 19)])
def test_refining_keeps_every_value_that_the_points_have(ends, sampling, n, size):
    chosen = interpolant("auto", ends, sampling)
    open_ends = {"both": (), "centres": (), "interior": (0, 1), "lower": (1,), "upper": (0,)}
    if any(ends[i] != "dirichlet" for i in open_ends[sampling]):
        assert chosen is None
        return
    up = resampling_matrix(*chosen, sampling, n, size, **KIND)
    down = resampling_matrix(*chosen, sampling, size, n, **KIND)
    close(down @ up, torch.eye(n, dtype=torch.float64))


def test_the_interpolant_goes_through_the_points():
    # 9 points are every second one of 17
    for ends in itertools.product(CONDITIONS, repeat=2):
        matrix = resampling_matrix(*interpolant("auto", ends, "both"), "both", 9, 17, **KIND)
        close(matrix[::2], torch.eye(9, dtype=torch.float64))


def test_a_linear_function_is_exact_with_the_values_at_the_ends():
    t, finer = fractions("both", 9), fractions("both", 30)
    matrix = resampling_matrix("sine", "both", "both", 9, 30, **KIND)
    close(matrix @ (3 - 5 * t), 3 - 5 * finer)


@pytest.mark.parametrize(
    ("ends", "sampling", "order"),
    [(("none", "none"), "both", 2.5), (("none", "none"), "centres", 1.5)],
)
def test_the_interpolant_converges_with_the_stated_order(ends, sampling, order):
    errors = []
    for n in (64, 128):
        matrix = resampling_matrix(*interpolant("auto", ends, sampling), sampling, n, 1024, **KIND)
        error = matrix @ (2 * fractions(sampling, n)).exp() - (2 * fractions(sampling, 1024)).exp()
        errors.append(float(error.square().mean().sqrt()))
    measured = torch.log2(torch.tensor(errors[0] / errors[1])).item()
    assert order - 0.3 < measured < order + 0.5


@pytest.mark.parametrize("sampling", ["lower", "upper", "centres"])
@pytest.mark.parametrize(("n", "size"), [(9, 20), (10, 16), (20, 9), (16, 10)])
def test_waves_are_resampled_at_the_places_of_the_points(sampling, n, size):
    layer = Resample(("fourier",), ("none",), (sampling,))
    for k in range((min(n, size) + 1) // 2):
        before, after = ((2 * torch.pi * k * fractions(sampling, x) + 0.3).cos() for x in (n, size))
        close(layer(before[None, :, None], (size,))[0, :, 0], after)


@pytest.mark.parametrize("sampling", ["upper", "centres"])
@pytest.mark.parametrize(("n", "size"), [(9, 20), (10, 16), (10, 17)])
def test_refining_waves_keeps_every_value(sampling, n, size):
    up = resampling_matrix("fourier", "none", sampling, n, size, **KIND)
    down = resampling_matrix("fourier", "none", sampling, size, n, **KIND)
    close(down @ up, torch.eye(n, dtype=torch.float64))


def test_the_plain_interpolant_is_the_one_of_before():
    x = torch.randn(2, 9, 12, 3, dtype=torch.float64)
    layer = Resample(("fourier", "fourier"), ("none", "none"), ("both", "lower"))
    assert torch.equal(layer(x, (15, 7)), resample(x, (15, 7)))


def test_complex_functions_and_several_axes():
    torch.manual_seed(0)
    layer = Resample(("sine", "cosine"), ("both", "none"), ("both", "centres"))
    x = torch.randn(2, 9, 12, 3, dtype=torch.complex128)
    found = layer(x, (14, 6))
    close(found.real, layer(x.real, (14, 6)))
    close(found.imag, layer(x.imag, (14, 6)))
    rows = resampling_matrix("sine", "both", "both", 9, 14, **KIND)
    columns = resampling_matrix("cosine", "none", "centres", 12, 6, **KIND)
    close(found.real, torch.einsum("ij,kl,bjlc->bikc", rows, columns, x.real))


def test_gradients():
    layer = Resample(("quarter_sine",), ("lower",), ("both",))
    x = torch.randn(1, 7, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: layer(v, (10,)), x)


@pytest.mark.parametrize(
    ("function", "boundary", "word", "sampling"),
    [
        (lambda t: t.exp(), "none", "none", "both"),
        (lambda t: t.exp(), "none", "none", "centres"),
        (lambda t: t * (1 - t) * t.exp(), "dirichlet", "dirichlet", "both"),
        (lambda t: t**2 * (1 - t) ** 2 * t.exp(), "neumann", "neumann", "both"),
        (lambda t: t**2 * (1 - t) ** 2 * t.exp(), "neumann", "neumann", "centres"),
        (lambda t: t.exp(), "neumann", "none", "both"),
    ],
)
def test_the_certified_order_of_the_interpolant_is_measured(function, boundary, word, sampling):
    from opdsl.ir import ends, orders

    domain = program(f"boundary = {boundary}, sampling = {sampling}, ", "auto").sound().domains[0]
    chosen = interpolant("auto", domain.axes[0].ends, sampling)
    order = orders.interpolant(domain, ends.declared(domain, [(word, word)]), (chosen,)).value
    errors = []
    for n in (64, 128):
        matrix = resampling_matrix(*chosen, sampling, n, 2048, **KIND)
        error = matrix @ function(fractions(sampling, n)) - function(fractions(sampling, 2048))
        errors.append(float(error.square().mean().sqrt()))
    measured = torch.log2(torch.tensor(errors[0] / errors[1])).item()
    assert order - 0.3 < measured < order + 0.5


# --- derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "sampling"), PAIRS)
@pytest.mark.parametrize("n", [11, 12])
def test_derivatives_are_exact_for_every_function(family, sampling, n):
    matrix = derivative_matrix(family, "none", sampling, n, **KIND)
    for k in range(capacity(family, sampling, n)):
        value, slope = wave(family, k, fractions(sampling, n))
        close(matrix @ value, slope, 1e-10)


@pytest.mark.parametrize("sampling", ["lower", "upper", "centres"])
@pytest.mark.parametrize("n", [11, 12])
def test_derivatives_of_waves_are_exact(sampling, n):
    matrix = derivative_matrix("fourier", "none", sampling, n, **KIND)
    for k in range((n + 1) // 2):
        angles = 2 * torch.pi * k * fractions(sampling, n) + 0.3
        close(matrix @ angles.cos(), -2 * torch.pi * k * angles.sin(), 1e-10)


def smooth(ends, t):
    """A function with the conditions, neither even nor odd, and its slope."""
    # t^a (1 - t)^b exp(t), with the exponents 1 where it vanishes, 2 where its slope does too
    a, b = ({"dirichlet": 1, "neumann": 2, "none": 0}[x] for x in ends)
    v = t**a * (1 - t) ** b * t.exp()
    return v, v * (1 + a / t - b / (1 - t))


@pytest.mark.parametrize("ends", list(itertools.product(CONDITIONS, repeat=2)))
def test_derivatives_of_smooth_functions_converge(ends):
    errors = []
    for n in (65, 129):
        t = fractions("both", n)
        matrix = derivative_matrix(*vanishing_interpolant(ends, "both"), "both", n, **KIND)
        v, slope = smooth(ends, t)
        errors.append(float((matrix @ v - slope)[1:-1].square().mean().sqrt()))
    assert errors[1] < errors[0] / 2  # at least of order 1; the least smooth case has 3/2


def test_the_loss_uses_the_basis_of_each_axis():
    ends = (None, ("dirichlet", "dirichlet"), ("neumann", "neumann"))
    grid = GridAxes((True, False, False), (2.0, 3.0, 0.5), ("lower", "both", "centres"), ends)
    x, y, z = 2 * fractions("lower", 12), 3 * fractions("both", 13), 0.5 * fractions("centres", 10)
    a, b, c = torch.pi * x, torch.pi * y / 3, 2 * torch.pi * z

    def outer(p, q, r):
        return torch.einsum("i,j,k->ijk", p, q, r)[None, None]

    u = outer(a.sin(), (2 * b).sin(), (3 * c).cos())
    want = (
        torch.pi * outer(a.cos(), (2 * b).sin(), (3 * c).cos()),
        2 * torch.pi / 3 * outer(a.sin(), (2 * b).cos(), (3 * c).cos()),
        -6 * torch.pi * outer(a.sin(), (2 * b).sin(), (3 * c).sin()),
    )
    for found, slope in zip(spectral_derivatives(u, grid), want, strict=True):
        close(found, slope, 1e-10)
    close(rel_h1_spectral(3 * u, u, grid), torch.full((1,), 2.0, dtype=torch.float64))
    # another function with the same values and twice the slopes along y
    v = outer(a.sin(), (4 * b).sin(), (3 * c).cos())
    ratio = rel_h1_spectral(u + v, u, grid)
    slopes = [torch.pi, 2 * torch.pi / 3, 6 * torch.pi]
    squares = [sum(s * s for s in (1, slopes[0], f * slopes[1], slopes[2])) for f in (2, 1)]
    # the mean squares of sines and cosines on these points are not all one half
    assert float(ratio) == pytest.approx((squares[0] / squares[1]) ** 0.5, rel=0.1)


def test_points_that_determine_no_basis_take_differences():
    grid = GridAxes((False,), (1.0,), ("interior",), (("none", "none"),))
    t = fractions("interior", 9)
    (found,) = spectral_derivatives((t**2)[None, None], grid)
    close(found[0, 0], 2 * t)


# --- programs -------------------------------------------------------------------------------------


def program(options, basis):
    return check(
        f"""
edition 2026

model M {{
  domain D = grid(x: 0..1, {options}min = 9)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> resample(to = D / 2, basis = {basis}) |> resample(to = D, basis = {basis})
}}
"""
    )


@pytest.mark.parametrize("sampling", ["both", "centres"])
@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "none", "dirichlet..neumann"])
def test_programs_resample_in_the_basis_of_the_boundary(boundary, sampling):
    graph = program(f"boundary = {boundary}, sampling = {sampling}, ", "auto").sound()
    t = fractions(sampling, 24)
    family, _ = interpolant("auto", graph.domains[0].axes[0].ends, sampling)
    v, _ = wave(family, 3, t)
    v = v + (2 - t if family == "sine" else 0)
    close(lower(graph).double()(v[None, None])[0, 0], v)


def test_old_programs_have_no_basis():
    from opdsl.export import to_json
    from opdsl.ir.fingerprint import fingerprint

    plain = program("", "fourier").sound()
    assert all("basis" not in x["params"] for x in to_json(plain)["nodes"])
    assert fingerprint(plain) != fingerprint(program("", "auto").sound())


@pytest.mark.parametrize(
    ("options", "basis", "code"),
    [
        ("boundary = periodic, ", "sine", "OP0323"),
        ("sampling = interior, ", "auto", "OP0322"),
        ("sampling = interior, boundary = dirichlet, ", "cosine", "OP0322"),
        ("", "(sine, sine)", "OP0208"),
    ],
)
def test_a_basis_that_does_not_fit_is_refused(options, basis, code):
    assert code in [x.code for x in program(options, basis).diagnostics]
