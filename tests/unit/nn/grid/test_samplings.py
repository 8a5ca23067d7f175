"""Every sampling: blocks on grids agree with closed forms at the places where the points are."""

import math

import pytest
import torch

from opdsl.compiler import check
from opdsl.diagnostics import OpError
from opdsl.ir.steps import Extend
from opdsl.lower.module import lower
from opdsl.lower.tiles.tiling import Tiled
from opdsl.nn.grid.coords import coords
from opdsl.nn.grid.difference import DifferenceConv
from opdsl.nn.grid.disco import DiscoConv
from opdsl.nn.grid.interpolate import Multilinear
from opdsl.nn.layers.integral import GridIntegral
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.integral.gno import GridWeights
from opdsl.nn.spectral.divergence_free import DivergenceFree
from opdsl.nn.spectral.series import Series
from opdsl.sampling import SAMPLINGS, line_weights, positions, spacings
from opdsl.train.losses.h1 import derivative

FORMULAS = {  # by hand, for four points on 0..1
    "both": (0, 1 / 3, 2 / 3, 1),
    "lower": (0, 1 / 4, 2 / 4, 3 / 4),
    "upper": (1 / 4, 2 / 4, 3 / 4, 1),
    "interior": (1 / 5, 2 / 5, 3 / 5, 4 / 5),
    "centres": (1 / 8, 3 / 8, 5 / 8, 7 / 8),
}
LIKE = torch.empty(0, dtype=torch.float64)


def line(sampling, n, lo=0.0, hi=1.0):
    return coords((n,), (lo,), (hi,), (False,), (sampling,), dtype=torch.float64)[0, :, 0]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_coordinates_are_where_the_sampling_says(sampling):
    want = torch.tensor(FORMULAS[sampling], dtype=torch.float64)
    torch.testing.assert_close(line(sampling, 4), want)
    torch.testing.assert_close(line(sampling, 4, -1.0, 3.0), -1 + 4 * want)
    assert positions(sampling, 4) == pytest.approx(FORMULAS[sampling])


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 11])
def test_quadrature_weights_agree_and_add_up_to_the_length(sampling, n):
    v = torch.randn(1, n, 1, dtype=torch.float64)
    weights = GridWeights((1.0,), (3.0,), (False,), (sampling,))(size=(n,), like=LIKE)[0]
    assert float(weights.sum()) == pytest.approx(2)
    found = GridIntegral((2.0,), (False,), (sampling,))(v)
    torch.testing.assert_close((weights * v[0]).sum(0), found[0])
    by_hand = [2 * w for w in line_weights(sampling, n, periodic=False)]
    assert weights[:, 0].tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("sampling", ["both", "interior", "centres"])
def test_symmetric_samplings_integrate_linear_functions_exactly(sampling):
    v = (2 + 3 * line(sampling, 9, 1.0, 3.0))[None, :, None]
    found = GridIntegral((2.0,), (False,), (sampling,))(v)
    torch.testing.assert_close(found, torch.full((1, 1), 16.0, dtype=torch.float64))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_quadrature_converges_with_order_two(sampling):
    errors = []
    for n in (40, 80):
        v = line(sampling, n).exp()[None, :, None]
        errors.append(abs(GridIntegral((1.0,), (False,), (sampling,))(v).item() - (math.e - 1)))
    assert errors[1] < errors[0] / 3.5


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_linear_interpolation_reproduces_linear_functions_up_to_the_ends(sampling):
    x = line(sampling, 9, 1.0, 3.0)
    queries = torch.linspace(1, 3, 41, dtype=torch.float64)[:, None]
    table = Multilinear((1.0,), (3.0,), (False,), (sampling,), strict=True)
    index, weights = table(None, Geometry(queries), (9,), LIKE)
    torch.testing.assert_close((weights * (5 - 2 * x)[index]).sum(1), 5 - 2 * queries[:, 0])


@pytest.mark.parametrize("sampling", ["lower", "upper", "centres"])
def test_interpolation_wraps_on_a_periodic_axis(sampling):
    n = 400
    x = coords((n,), (0.0,), (1.0,), (True,), (sampling,), dtype=torch.float64)[0, :, 0]
    queries = torch.linspace(0, 1, 33, dtype=torch.float64)[:, None]
    table = Multilinear((0.0,), (1.0,), (True,), (sampling,), strict=True)
    index, weights = table(None, Geometry(queries), (n,), LIKE)
    found = (weights * (2 * torch.pi * x).sin()[index]).sum(1)
    torch.testing.assert_close(found, (2 * torch.pi * queries[:, 0]).sin(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_differences_are_divided_by_the_true_spacing(sampling):
    layer = DifferenceConv(
        1,
        1,
        3,
        lengths=(2.0,),
        widths=(0.5,),
        closed=(False,),
        edges=("replicate",),
        samplings=(sampling,),
    ).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[-0.5, 0.0, 0.5]]]))
        w = layer((3 * line(sampling, 12, 0.0, 2.0))[None, :, None])
    # the slope 3 times the width, without the two points at the ends
    torch.testing.assert_close(w[0, 1:-1, 0], torch.full((10,), 1.5, dtype=torch.float64))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_radius_of_a_kernel_is_a_length(sampling):
    layer = DiscoConv(
        1, 1, shape=(3, 1), radius=0.3, lengths=(1.0,), closed=(False,), edges=("replicate",),
        samplings=(sampling,), bias=False,
    ).double()  # fmt: skip
    n = 24
    v = torch.zeros(1, n, 1, dtype=torch.float64)
    v[0, n // 2] = 1
    with torch.no_grad():
        layer.weight.fill_(1.0)
        w = layer(v)[0, :, 0]
    x = line(sampling, n)
    assert bool((w.abs() > 1e-12)[(x - x[n // 2]).abs() < 0.29].all())
    assert float(w[(x - x[n // 2]).abs() > 0.3 + 1e-9].abs().max()) == 0


def test_a_reflection_repeats_the_outermost_centre():
    layer = DifferenceConv(
        1,
        1,
        3,
        lengths=(1.0,),
        widths=(1.0,),
        closed=(False,),
        edges=("reflect",),
        samplings=("centres",),
    ).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[-0.5, 0.0, 0.5]]]))
        x = line("centres", 64)
        w = layer((torch.pi * x).cos()[None, :, None])[0, :, 0]
    # an even function: its slope is continuous at both ends
    torch.testing.assert_close(w, -torch.pi * (torch.pi * x).sin(), atol=2e-2, rtol=0)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("closed", [False, True])
def test_a_series_is_one_function_on_every_sampling(sampling, closed):
    torch.manual_seed(0)
    series = Series(2, (3,), (closed,), samplings=(sampling,)).double()
    c = torch.view_as_complex(series.weight.detach())
    x = line(sampling, 11)
    k = torch.arange(4, dtype=torch.float64)
    twice = torch.where(k > 0, 2.0, 1.0)
    waves = torch.exp(2j * torch.pi * k * x[:, None]) * twice
    want = (waves @ c).real
    torch.testing.assert_close(series(size=(11,), like=LIKE)[0].detach(), want)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_second_order_differences_are_exact_for_parabolas(sampling):
    x = line(sampling, 7, 0.0, 2.0)
    found = derivative((x**2)[None, None], 2, periodic=False, length=2.0, sampling=sampling)
    torch.testing.assert_close(found[0, 0], 2 * x)


def test_an_axis_without_ends_closes_one_spacing_behind_its_last_point():
    torch.manual_seed(0)
    v = torch.randn(1, 9, 8, 2, dtype=torch.float64)
    inside = DivergenceFree((1.0, 2.0), (False, True), ("interior", "lower"))(v)
    torch.testing.assert_close(inside, DivergenceFree((9 / 10, 2.0), (True, True))(v))
    centres = DivergenceFree((1.0, 2.0), (False, False), ("centres", "centres"))(v)
    torch.testing.assert_close(centres, DivergenceFree((1.0, 2.0), (True, True))(v))


# --- whole programs -------------------------------------------------------------------------------


def program(tmp_path, declaration, body, result="D -> R^1"):
    text = f"""
edition 2026

model M {{
  domain D = grid({declaration}, min = 16)
  input a : D -> R^1
  output u : {result}

  {body}
}}
"""
    (tmp_path / "m.op").write_text(text)
    torch.manual_seed(3)
    return check(tmp_path / "m.op").sound()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_programs_integrate_and_place_by_the_declared_sampling(tmp_path, sampling):
    graph = program(
        tmp_path,
        f"x: 1..3, sampling = {sampling}",
        "u = integrate(coords(D)) + integrate(a)",
        "R^1",
    )
    found = lower(graph).double()(torch.zeros(1, 1, 20, dtype=torch.float64))
    torch.testing.assert_close(
        found, torch.full((1, 1), 4.0, dtype=torch.float64), atol=6e-3, rtol=0
    )


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_points_of_an_extension_count_the_spacings(tmp_path, sampling):
    graph = program(tmp_path, f"x: 0..1, sampling = {sampling}", "u = a")
    domain = graph.domains[0]
    longer = domain.extended(Extend(name="E", numerator=1, denominator=2))
    n = 24
    count = spacings(sampling, n)
    assert longer.points((n,)) == (count + -(-count // 2),)
    assert longer.periodic == (True,)


@pytest.mark.parametrize("sampling", ["lower", "upper", "interior", "centres"])
@pytest.mark.parametrize("boundary", ["none", "periodic"])
def test_tiles_compute_the_same_function(tmp_path, sampling, boundary):
    if boundary == "periodic" and sampling == "interior":
        pytest.skip("a periodic axis has no ends")
    body = (
        "u = concat(a, coords(D)) |> linear(out = 3) |> gelu() |> difference_conv(width = 1/16)"
        " |> disco_conv(radius = 0.1, shape = (2, 1)) |> linear(out = 1)"
    )
    axis = f"x: 0..1, sampling = {sampling}, boundary = {boundary}"
    module = lower(program(tmp_path, axis, body)).double().eval()
    a = torch.randn(2, 1, 48, dtype=torch.float64)
    torch.testing.assert_close(Tiled(module, 9)(a=a), module(a=a))


@pytest.mark.parametrize("sampling", ["lower", "upper", "interior"])
def test_nothing_is_reflected_at_an_end_without_a_point(tmp_path, sampling):
    with pytest.raises(OpError) as caught:
        program(
            tmp_path, f"x: 0..1, sampling = {sampling}", "u = a |> difference_conv(edges = reflect)"
        )
    (said,) = caught.value.diagnostics
    assert said.code == "OP0322"
    assert f"`x` has the sampling `{sampling}`" in said.labels[0].text
