"""The same function at other points."""

import math
from itertools import pairwise

import pytest
import torch

import opdsl
from opdsl import OpError, Packed

TEXT = """edition 2026

model M {{
  domain P = points(2, geometry = per_sample{period})
  domain Q = points(2, geometry = per_sample)
  domain L = grid(x: -1..1, y: 0..3{boundary}, {points})
  input f : {here} -> R^{c}
  output w : {there} -> R^{c}

  w = interpolate(f, to = {there}, kind = {kind}{more})
}}
"""
LO, LENGTH = torch.tensor([-1.0, 0.0]).double(), torch.tensor([2.0, 3.0]).double()


def model(here, there, kind, *, c=1, more="", boundary="", period=""):
    names = {"here": here, "there": there, "kind": kind, "c": c, "more": more}
    points = "size = 40" if there == "L" else "min = 2"
    text = TEXT.format(**names, points=points, boundary=boundary, period=period)
    return opdsl.compile(text).double()


def cloud(n, seed=0):
    """In the box of the grid."""
    g = torch.Generator().manual_seed(1000 * n + seed)
    return LO + LENGTH * torch.rand(n, 2, generator=g, dtype=torch.float64)


def grid(*size, periodic=False):
    """(*size, 2)."""
    ends = [(n if periodic else n - 1) for n in size]
    lines = [torch.arange(n).double() / e for n, e in zip(size, ends, strict=True)]
    return LO + LENGTH * torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)


def wave(x):
    """Of the periods of the box: (..., 2) -> (1, 1, ...)."""
    a, b = math.pi * x[..., 0], 2 * math.pi / 3 * x[..., 1]
    return (torch.sin(a + 0.3) * torch.cos(b) + 0.5 * torch.cos(a - b))[None, None]


def norm(x):
    return float(x.square().mean().sqrt())


@pytest.mark.parametrize("boundary", ["", ", boundary = periodic"])
def test_on_a_grid_the_error_of_linear_is_of_order_two(boundary):
    net, where = model("L", "Q", "linear", boundary=boundary), cloud(2000)
    gaps = []
    for n in (16, 32, 64):
        f = wave(grid(n, n, periodic=bool(boundary)))
        gaps.append(norm(net(f, Q=where) - wave(where)))
    orders = [math.log2(a / b) for a, b in pairwise(gaps)]
    assert all(1.85 < x < 2.2 for x in orders)


@pytest.mark.parametrize(("kind", "here", "there"), [
    ("nearest", "P", "Q"),
    ("distance", "P", "Q"),
    ("nearest", "P", "L"),
    ("distance", "P", "L"),
    ("nearest", "L", "Q"),
    ("distance", "L", "Q"),
])  # fmt: skip
def test_between_points_and_grids_the_error_is_of_order_one(kind, here, there):
    net, queries = model(here, there, kind, boundary=", boundary = periodic"), cloud(1500, 1)
    if there == "L":
        queries = grid(40, 40, periodic=True)
    gaps = []
    for n in (24, 96):
        points = grid(n, n, periodic=True) if here == "L" else cloud(n * n)
        places = {"P": points} if here == "P" else {}
        places |= {"Q": queries} if there == "Q" else {}
        found = net(wave(points), **places)
        gaps.append(norm(found - wave(queries)))
    assert 0.8 < math.log(gaps[0] / gaps[1]) / math.log(4) < 1.3


@pytest.mark.parametrize("size", [(2, 2), (5, 8), (3, 2)])
def test_linear_is_exact_for_functions_linear_along_each_axis(size):
    def line(x):
        return (1 + 2 * x[..., 0] - x[..., 1] + 0.7 * x[..., 0] * x[..., 1])[None, None]

    where = cloud(50)
    found = model("L", "Q", "linear")(line(grid(*size)), Q=where)
    torch.testing.assert_close(found, line(where))


def test_the_derivative_of_linear_by_the_place_is_the_slope_of_the_cell():
    where = cloud(20).requires_grad_()
    found = model("L", "Q", "linear")((2 * grid(6, 7)[..., 0])[None, None], Q=where)
    found.sum().backward()
    torch.testing.assert_close(where.grad, torch.tensor([2.0, 0.0]).double().expand(20, 2))


@pytest.mark.parametrize("kind", ["nearest", "distance", "linear"])
def test_points_of_a_periodic_grid_may_lie_in_any_period(kind):
    net = model("L", "Q", kind, boundary=", boundary = periodic")
    f, where = wave(grid(7, 9, periodic=True)), cloud(40)
    moved = where + LENGTH * torch.tensor([2.0, -1.0])
    torch.testing.assert_close(net(f, Q=moved), net(f, Q=where))


def test_distances_go_around_the_period_of_points():
    near_the_end = torch.tensor([[0.95, 1.0], [0.5, 1.0]]).double()
    values = torch.tensor([[[1.0, 2.0]]]).double()
    at = torch.tensor([[-0.98, 1.0]]).double()
    assert float(model("P", "Q", "nearest")(values, P=near_the_end, Q=at)) == 2
    around = model("P", "Q", "nearest", period=", period = (2, 3)")
    assert float(around(values, P=near_the_end, Q=at)) == 1
    weighed = model("P", "Q", "distance", period=", period = (2, 3)", more=", count = 2")
    a, b = 0.07**-2, 0.52**-2
    assert float(weighed(values, P=near_the_end, Q=at)) == pytest.approx((a + 2 * b) / (a + b))


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_weights_are_those_of_a_power_of_the_distance(power):
    points, queries, f = cloud(9), cloud(4, 1), torch.rand(1, 2, 9).double()
    far = torch.cdist(queries, points)
    near = far.topk(5, largest=False).indices
    w = far.gather(1, near) ** -power
    wanted = (f[0][:, near] * w).sum(-1) / w.sum(-1)
    net = model("P", "Q", "distance", c=2, more=f", count = 5, power = {power}")
    torch.testing.assert_close(net(f, P=points, Q=queries)[0], wanted)


@pytest.mark.parametrize("kind", ["nearest", "distance"])
def test_at_a_point_the_value_is_its_own_and_its_gradient_is_finite(kind):
    points, f = cloud(30).requires_grad_(), torch.rand(1, 1, 30).double()
    found = model("P", "Q", kind)(f, P=points, Q=points)
    torch.testing.assert_close(found, f)
    if found.requires_grad:
        found.sum().backward()
        assert bool(torch.isfinite(points.grad).all())


@pytest.mark.parametrize("kind", ["nearest", "distance", "linear"])
def test_a_packed_batch_is_each_sample_alone(kind):
    net = model("L" if kind == "linear" else "P", "Q", kind, c=2)
    points, queries = [cloud(n) for n in (9, 14)], [cloud(n, 1) for n in (6, 3)]
    f = [torch.rand(2, n).double() for n in (9, 14)]
    if kind == "linear":
        g = torch.rand(2, 2, 4, 5).double()
        found = net(g, Q=queries)
        alone = [net(x[None], Q=q) for x, q in zip(g, queries, strict=True)]
    else:
        found = net(Packed.of(f), P=points, Q=queries)
        each = zip(f, points, queries, strict=True)
        alone = [net(x[None], P=p, Q=q) for x, p, q in each]
    assert found.sizes == (6, 3)
    for x, y in zip(found.parts, alone, strict=True):
        torch.testing.assert_close(x, y[0])


def test_a_place_for_each_sample_of_a_dense_batch():
    net, f = model("L", "Q", "linear"), torch.rand(2, 1, 4, 5).double()
    queries = torch.stack([cloud(6), cloud(6, 1)])
    found = net(f, Q=queries)
    for i in range(2):
        torch.testing.assert_close(found[i], net(f[i : i + 1], Q=queries[i])[0])


def test_points_beyond_a_grid_are_refused_or_take_the_edge():
    f, where = torch.rand(1, 1, 4, 5).double(), cloud(5)
    where[2] = torch.tensor([1.5, 1.2])
    with pytest.raises(
        OpError, match=r"1 of 5 points lie outside of the grid, by up to 0\.5"
    ) as no:
        model("L", "Q", "linear")(f, Q=where)
    assert no.value.diagnostics[0].code == "OP0908"
    found = model("L", "Q", "linear", more=", outside = nearest")(f, Q=where)
    where[2, 0] = 1
    torch.testing.assert_close(found, model("L", "Q", "linear")(f, Q=where))


def test_a_point_that_is_not_finite_lies_outside():
    where = cloud(5)
    where[2, 0] = torch.nan
    with pytest.raises(OpError):
        model("L", "Q", "linear")(torch.rand(1, 1, 4, 5).double(), Q=where)


def test_what_cannot_be_interpolated_is_refused():
    def codes(**changes):
        names = {"here": "P", "there": "Q", "kind": "nearest", "c": 1, "more": ""}
        names |= {"points": "min = 2", "boundary": "", "period": ""} | changes
        return [x.code for x in opdsl.check(TEXT.format(**names)).errors]

    assert codes() == []
    assert codes(kind="linear") == ["OP0301"]
    unlike = {"here": "L", "there": "P", "boundary": ", boundary = periodic"}
    assert codes(**unlike, period=", period = (1, 1)") == ["OP0313"]


def test_hard_by_a_point_the_slope_by_the_place_does_not_blow_up():
    points, f = cloud(30), torch.rand(1, 1, 30).double()
    points[3] = 0
    at = torch.tensor([[1e-20, 1e-20]]).double().requires_grad_()
    model("P", "Q", "distance")(f, P=points, Q=at).sum().backward()
    assert float(at.grad.norm()) < 1e-3  # that of a sum of squares of 1e-20 is nothing
