"""Series of half waves: one function at every resolution, with the boundary that is declared."""

import math

import pytest
import torch

from opdsl.compiler import check
from opdsl.ir.fingerprint import fingerprint
from opdsl.lower.module import lower
from opdsl.nn.spectral.half_waves.interpolants import fractions
from opdsl.nn.spectral.half_waves.series import HalfWaveSeries
from opdsl.sampling import SAMPLINGS

LIKE = torch.empty(0, dtype=torch.float64)


def test_it_is_the_sum_of_its_functions():
    torch.manual_seed(0)
    layer = HalfWaveSeries(
        2, (3, 2), ("sine fourier", "cosine fourier"), ("both", "lower")
    ).double()
    w = layer(size=(9, 8), like=LIKE)[0]
    x, y = fractions("both", 9), fractions("lower", 8)
    want = torch.zeros(9, 8, 2, dtype=torch.float64)
    rows = (
        [(math.pi * (k + 1) * x).sin() for k in range(3)],
        [(math.pi * k * x).cos() for k in range(3)],
    )
    columns = [torch.ones_like(y)]
    for k in (1, 2):
        columns += [(2 * math.pi * k * y).cos(), (2 * math.pi * k * y).sin()]
    for term in (0, 1):
        for i, row in enumerate(rows[term]):
            for j, column in enumerate(columns):
                want += torch.einsum("x,y,c->xyc", row, column, layer.weight[term, i, j])
    torch.testing.assert_close(w, want)


@pytest.mark.parametrize(
    "terms", [("sine",), ("cosine",), ("quarter_sine", "cosine"), ("fourier",)]
)
def test_the_mean_square_begins_at_one(terms):
    torch.manual_seed(1)
    layer = HalfWaveSeries(4000, (6,), terms, ("centres",)).double()
    w = layer(size=(64,), like=LIKE).detach()
    assert float(w.square().mean()) == pytest.approx(1, rel=0.05)


def program(axes, basis, modes=4):
    return check(
        f"""
edition 2026

model M {{
  domain D = grid({axes}, min = 12)
  input a : D -> R^1
  output u : D -> R^2

  mean = integrate(concat(a, a))
  u = series(D, out = 2, modes = {modes}, basis = {basis}) + broadcast(mean, to = D)
}}
"""
    )


def test_it_has_the_boundary_of_the_domain():
    graph = program(
        "x: 0..1, y: 0..1, boundary = (dirichlet..neumann, periodic)", "(quarter_sine, auto)"
    ).sound()
    w = lower(graph).double()(torch.zeros(1, 1, 129, 16, dtype=torch.float64))[0].detach()
    assert float(w[:, 0].abs().max()) < 1e-12
    slope = (3 * w[:, -1] - 4 * w[:, -2] + w[:, -3]).abs().max() * 128 / 2
    assert float(slope) < 0.05 * float(w.diff(dim=1).abs().max() * 128)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_it_is_one_function_at_every_resolution(sampling):
    graph = program(f"x: 0..1, boundary = dirichlet, sampling = {sampling}", "auto").sound()
    torch.manual_seed(0)
    module = lower(graph).double()
    # 0.5 is a point of each of these grids
    size = {"both": 25, "lower": 24, "upper": 24, "interior": 23, "centres": 25}[sampling]
    finer = {"both": 49, "lower": 48, "upper": 48, "interior": 47, "centres": 75}[sampling]
    coarse, fine = (module(torch.zeros(1, 1, n, dtype=torch.float64))[0] for n in (size, finer))
    step, first = {"centres": (3, 1), "interior": (2, 1), "upper": (2, 1)}.get(sampling, (2, 0))
    torch.testing.assert_close(coarse, fine[:, first::step])


def test_parameters_are_counted():
    graph = program("x: 0..1, y: 0..1, boundary = (none, periodic)", "auto", "(4, 3)").sound()
    node = next(x for x in graph.nodes if x.keyword == "series")
    assert node.block.cost().params == 2 * 2 * 4 * 7
    assert sum(x.numel() for x in lower(graph).parameters()) == 2 * 2 * 4 * 7


def test_all_axes_alike_is_one_word():
    axes = "x: 0..1, y: 0..1, boundary = periodic"
    one, each = (program(axes, x).sound() for x in ("fourier", "(fourier, fourier)"))
    assert fingerprint(one) == fingerprint(each)


@pytest.mark.parametrize(
    ("axes", "basis", "modes", "code"),
    [
        ("x: 0..1, boundary = periodic", "sine", 2, "OP0323"),
        ("x: 0..1", "sine", 0, "OP0208"),
        ("x: 0..1", "sine", 20, "OP0309"),
        ("x: 0..1", "(sine, sine)", 2, "OP0208"),
    ],
)
def test_a_basis_that_does_not_fit_is_refused(axes, basis, modes, code):
    assert code in [x.code for x in program(axes, basis, modes).diagnostics]


def test_the_cure_is_one():
    (said,) = program("x: 0..1", "sine", 20).diagnostics
    # twelve points with both ends determine ten sines
    assert "modes = 10" in str(said.helps)
    assert not program("x: 0..1", "sine", 10).diagnostics
