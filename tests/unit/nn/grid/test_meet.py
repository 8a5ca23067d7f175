"""`meet`: conditions at the ends hold exactly, at every resolution and sampling."""

import math

import pytest
import torch
from torch import Tensor

from opdsl.compiler import check, load
from opdsl.diagnostics import Source
from opdsl.lower.module import lower
from opdsl.nn.grid.meet import Meet
from opdsl.sampling import SAMPLINGS, positions

DOUBLE = torch.float64
SIZES = (7, 16, 33)
END_POINTS = {"both": (0, -1), "lower": (0,), "upper": (-1,)}


def place(sampling: str, n: int) -> Tensor:
    """The points of an axis from 0 to 1."""
    return torch.tensor(positions(sampling, n), dtype=DOUBLE)


def values(*size: int) -> Tensor:
    """A random function with two channels."""
    return torch.rand(2, *size, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))


def parabola_slope(y: Tensor, t: Tensor, end: float) -> Tensor:
    """The slope at an end of the parabola through three points; y (..., 3)."""
    vandermonde = torch.stack([torch.ones_like(t), t - end, (t - end) ** 2], -1)
    return torch.linalg.solve(vandermonde, y[..., None])[..., 1, 0]


# --- Dirichlet ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    ("sampling", "by"),
    [("both", "factor"), ("lower", "factor"), ("upper", "factor"), ("both", "lifting")],
)
def test_a_function_is_exactly_zero_at_dirichlet_points(n, sampling, by):
    layer = Meet([("dirichlet", "dirichlet")] * 2, [sampling] * 2, by)
    w = layer(values(n, n + 1))
    for index in END_POINTS[sampling]:
        assert w[:, index].abs().max() <= 1e-15
        assert w[:, :, index].abs().max() <= 1e-15


@pytest.mark.parametrize("by", ["factor", "lifting"])
def test_one_end_is_met_and_the_other_one_stays_free(by):
    v = values(20)
    w = Meet([("dirichlet", "none")], ["both"], by)(v)
    assert w[:, 0].abs().max() == 0
    assert w[:, -1].abs().min() > 1e-3


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(
    ("ends", "wave"),
    [
        (("dirichlet", "dirichlet"), lambda t: torch.sin(math.pi * t)),
        (("dirichlet", "none"), lambda t: torch.sin(math.pi / 2 * t)),
        (("none", "dirichlet"), lambda t: torch.cos(math.pi / 2 * t)),
    ],
)
def test_the_factor_is_the_longest_wave_on_every_sampling(sampling, ends, wave):
    w = Meet([ends], [sampling], "factor")(torch.ones(1, 12, 1, dtype=DOUBLE))
    torch.testing.assert_close(w[0, :, 0], wave(place(sampling, 12)), atol=1e-15, rtol=0)


def test_lifting_is_transfinite_interpolation_of_the_boundary_values():
    """(I - P_x)(I - P_y) takes all functions that are linear in x or in y to zero."""
    t = place("both", 17)
    x, y = torch.meshgrid(t, t, indexing="ij")
    bump = torch.sin(math.pi * x) * torch.sin(2 * math.pi * y)
    v = (bump + (1 - x) * torch.exp(y) + y * torch.cos(x))[None, ..., None]
    w = Meet([("dirichlet", "dirichlet")] * 2, ["both"] * 2, "lifting")(v)
    torch.testing.assert_close(w[0, ..., 0], bump, atol=1e-14, rtol=0)


# --- Neumann --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("ends", [("neumann", "neumann"), ("none", "neumann"), ("neumann", "none")])
def test_the_slope_of_the_parabola_at_a_neumann_end_is_zero(n, sampling, ends):
    w = Meet([ends], [sampling], "factor")(values(n)).movedim(1, -1)
    t = place(sampling, n)
    if ends[0] == "neumann":
        assert parabola_slope(w[..., :3], t[:3], 0.0).abs().max() < 1e-11
    if ends[1] == "neumann":
        assert parabola_slope(w[..., -3:], t[-3:], 1.0).abs().max() < 1e-11


@pytest.mark.parametrize("by", ["factor", "lifting"])
@pytest.mark.parametrize("ends", [("dirichlet", "neumann"), ("neumann", "dirichlet")])
def test_a_value_and_a_slope_are_met_together(by, ends):
    w = Meet([ends], ["both"], by)(values(24)).movedim(1, -1)
    t = place("both", 24)
    low, high = (0, 1.0) if ends[0] == "dirichlet" else (-1, 0.0)
    three = slice(-3, None) if high else slice(3)
    assert w[..., low].abs().max() < 1e-15
    assert parabola_slope(w[..., three], t[three], high).abs().max() < 1e-11


def test_a_function_that_meets_the_slopes_is_kept():
    t = place("both", 129)
    v = torch.cos(math.pi * t)[None, :, None]
    w = Meet([("neumann", "neumann")], ["both"], "factor")(v)
    assert (w - v).abs().max() < 1e-3  # the slope of the parabola is one of second order


# --- a basis --------------------------------------------------------------------------------------

BASES = {
    ("dirichlet", "dirichlet"): lambda t, k: torch.sin(math.pi * (k + 1) * t),
    ("neumann", "neumann"): lambda t, k: torch.cos(math.pi * k * t),
    ("dirichlet", "neumann"): lambda t, k: torch.sin(math.pi * (k + 0.5) * t),
    ("neumann", "dirichlet"): lambda t, k: torch.cos(math.pi * (k + 0.5) * t),
}


@pytest.mark.parametrize("ends", BASES)
@pytest.mark.parametrize("sampling", ["both", "centres"])
def test_a_basis_keeps_its_functions_and_gives_nothing_else(ends, sampling):
    n, m = 15, 4
    t = place(sampling, n)
    phi = torch.stack([BASES[ends](t, k) for k in range(m)])  # (m, n)
    layer = Meet([ends], [sampling], "basis", (m,))
    kept = layer(phi[..., None])
    torch.testing.assert_close(kept, phi[..., None], atol=1e-13, rtol=0)
    w = layer(values(n))[..., 0]
    left = w - torch.linalg.lstsq(phi.T, w.T).solution.T @ phi
    assert left.abs().max() < 1e-13


# --- other values, gradients ----------------------------------------------------------------------


@pytest.mark.parametrize("by", ["factor", "lifting"])
def test_the_result_takes_the_values_of_a_second_function(by):
    v, g = values(9, 11), values(9, 11).flip(0)
    w = Meet([("dirichlet", "dirichlet")] * 2, ["both"] * 2, by)(v, g)
    for edge in ((slice(None), 0), (slice(None), -1)):
        torch.testing.assert_close(w[edge], g[edge], atol=1e-15, rtol=0)
    torch.testing.assert_close(w[:, :, -1], g[:, :, -1], atol=1e-15, rtol=0)


@pytest.mark.parametrize(
    ("by", "ends", "modes"),
    [
        ("factor", ("dirichlet", "neumann"), ()),
        ("lifting", ("dirichlet", "dirichlet"), ()),
        ("basis", ("neumann", "neumann"), (3,)),
    ],
)
def test_gradients(by, ends, modes):
    layer = Meet([ends], ["both"], by, modes)
    v, g = (values(6).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(layer, (v, g))


@pytest.mark.parametrize("by", ["factor", "lifting"])
def test_float32_and_a_batch_of_one_second_function(by):
    v, g = values(9).float(), values(9)[:1].float()
    w = Meet([("dirichlet", "dirichlet")], ["both"], by)(v, g)
    assert w.dtype == torch.float32
    assert w.shape == v.shape


# --- programs -------------------------------------------------------------------------------------

PROGRAM = """
edition 2026

model M {{
  domain D = grid(x: 0..1, y: 0..2, {domain}, min = 8)
  domain F = grid(x: 0..1, y: 0..2, boundary = dirichlet, min = 8)
  input v : D -> R^2
  input g : D -> R^2
  input h : F -> R^2
  output u : D -> R^2
  output k : F -> R^2

  u = g + {chain}
  k = h
}}
"""


def messages(chain: str, domain: str = "boundary = dirichlet") -> list[str]:
    """The errors of a program, `CODE text`."""
    found = check(Source("<test>", PROGRAM.format(chain=chain, domain=domain))).errors
    return [f"{x.code} {x.message}" for x in found]


@pytest.mark.parametrize(
    ("chain", "domain", "message"),
    [
        ("meet(v)", "boundary = none", "OP0321 there is no condition to meet"),
        ("meet(v)", "boundary = periodic", "OP0321 there is no condition to meet"),
        (
            "meet(v, (dirichlet, none))",
            "boundary = (periodic, none)",
            "OP0321 the axis `x` is periodic and has no ends",
        ),
        (
            "meet(v, (periodic, dirichlet))",
            "boundary = none",
            "OP0321 the axis `x` is not periodic",
        ),
        (
            "meet(v, (dirichlet, dirichlet, none))",
            "boundary = none",
            "OP0208 `conditions` has 3 entries for 2 axes",
        ),
        (
            "meet(v, neumann, by = factor)",
            "boundary = none",
            "OP0208 a factor cannot satisfy a condition on the slope",
        ),
        (
            "meet(v, dirichlet..none, by = basis, modes = 4)",
            "boundary = none",
            "OP0208 a basis needs a condition at both ends of an axis",
        ),
        ("meet(v, by = basis)", "boundary = dirichlet", "OP0205 `by = basis` needs `modes`"),
        (
            "meet(v, by = lifting)",
            "boundary = dirichlet, sampling = centres",
            "OP0322 the value at an end of `x` cannot be lifted without a point there",
        ),
        (
            "meet(v, neumann, by = basis, modes = 2)",
            "boundary = none, sampling = interior",
            "OP0322 the points of `x` do not carry `cosine`",
        ),
        (
            "meet(v, by = basis, modes = 7)",
            "boundary = dirichlet",
            "OP0309 too many modes for the resolution this model promises",
        ),
        ("meet(v, h)", "boundary = dirichlet", "OP0304 cannot compare functions on different grid"),
        (
            "meet(v, robin)",
            "boundary = dirichlet",
            "OP0208 `conditions` of `meet` cannot be `robin`",
        ),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(chain, domain, message):
    assert [x for x in messages(chain, domain) if x.startswith(message)]


@pytest.mark.parametrize(
    "chain",
    ["meet(v)", "meet(v, boundary)", "meet(v, g, boundary)", "meet(v, dirichlet..none)"],
)
def test_conditions_are_written_in_several_ways(chain):
    assert messages(chain) == []


def test_a_program_converges_to_a_function_that_meets_its_conditions():
    graph = load(
        PROGRAM.format(domain="boundary = (dirichlet, neumann)", chain="meet(v)").replace(
            "u = g +", "u ="
        )
    )
    module = lower(graph).double()
    slopes = []
    for n in (33, 65, 129):
        t = place("both", n)
        x, y = torch.meshgrid(t, t, indexing="ij")
        v = torch.exp(x * y + y)[None, None].expand(1, 2, n, n)
        u = module(v, v, v)["u"]
        assert u[:, :, 0].abs().max() < 1e-15
        slopes.append(float(((u[..., 1] - u[..., 0]) * (n - 1)).abs().max()))
    assert slopes[0] / slopes[1] == pytest.approx(2, abs=0.1)  # a difference of first order
    assert slopes[1] / slopes[2] == pytest.approx(2, abs=0.1)
