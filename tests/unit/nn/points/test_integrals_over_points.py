"""Integrals over points: closed forms, and a packed batch as its samples alone."""

import math

import pytest
import torch

import opdsl
from opdsl import Geometry, OpError, Packed
from opdsl.compiler import load
from opdsl.ir.certificate import certify
from opdsl.nn.points.measure import quadrature_weights

PROGRAM = """edition 2026
model M {{
  domain P = {}
  input f : P -> R^2
  output m : R^2
  m = integrate(f)
}}"""


def model(declared):
    return opdsl.compile(PROGRAM.format(declared))


def cloud(n, d=2, seed=0):
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("how", ["voronoi", "density"])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_integral_is_the_sum_with_the_weights_of_the_domain(how, batch):
    points, f = cloud(40), torch.randn(batch, 2, 40).double()
    expected = (f * quadrature_weights(Geometry(points), how)).sum(-1)
    torch.testing.assert_close(model(f"points(2, measure = {how})").double()(f, P=points), expected)


def test_each_sample_has_its_own_weights_packed_or_not():
    net = model("points(2, geometry = per_sample, measure = voronoi)").double()
    points = [cloud(n, seed=n) for n in (30, 30, 12)]
    f = [torch.randn(2, len(p)).double() for p in points]
    alone = [net(x[None], P=p) for x, p in zip(f, points, strict=True)]
    torch.testing.assert_close(net(Packed.of(f), P=points), torch.cat(alone))
    two = net(torch.stack(f[:2]), P=torch.stack(points[:2]))
    torch.testing.assert_close(two, torch.cat(alone[:2]))


def test_on_a_mesh_the_cells_weigh():
    line = torch.linspace(0, math.pi, 200, dtype=torch.float64)[:, None]
    cells = torch.stack((torch.arange(199), torch.arange(1, 200)), 1)
    f = torch.stack((line[:, 0].sin(), torch.ones(200)))[None].double()
    found = model("mesh(1)").double()(f, P=Geometry(line, cells=cells))
    torch.testing.assert_close(found, torch.tensor([[2, math.pi]]).double(), rtol=1e-4, atol=0)


def test_a_mesh_without_cells_has_no_integral():
    with pytest.raises(OpError) as caught:
        model("mesh(2)")(torch.ones(1, 2, 9), P=cloud(9).float())
    assert caught.value.diagnostics[0].code == "OP0910"


def test_where_all_count_the_same_it_is_the_mean_and_asks_for_nothing():
    f = torch.randn(3, 2, 40)
    torch.testing.assert_close(model("points(2)")(f), f.mean(-1))


@pytest.mark.parametrize("declared", ["points(2)", "points(2, measure = voronoi)"])
def test_the_certificate_says_how(declared):
    graph = load(PROGRAM.format(declared))
    assert [x.name for x in certify(graph).measured] == ["P"]
