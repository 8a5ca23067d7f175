"""Kernel integrals: neighbours by all distances, dense float64, integrals over discs and caps."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

import opdsl
from opdsl import OpError
from opdsl.ir.certificate import certify
from opdsl.nn.grid.coords import Coords
from opdsl.nn.layers.pointwise import Linear
from opdsl.nn.points.geometry import as_geometries
from opdsl.nn.points.integral.gno import Gno, GridWeights, Side, SphereWeights
from opdsl.nn.points.integral.mollifier import ball_volume
from opdsl.nn.points.neighbours import search as neighbours
from opdsl.nn.points.neighbours.search import NeighbourRule
from opdsl.nn.sphere.sampling import UnitVectors

SQUARE = ((0.0, 0.0), (1.0, 1.0), (False, False))
PROGRAM = """edition 2026
model M {
  domain P = points(2)
  domain Q = points(2)
  input v : P -> R^2
  output w : Q -> R^2
  w = v |> linear(out = 2) |> gno(to = Q, radius = 0.4, kernel = [8])
}"""
ON_A_GRID = PROGRAM.replace("P = points(2)", "P = grid(x: 0..1, y: 0..1, min = 8)")


class OnTensors(Gno):
    """Coordinates as tensors, (samples or 1, points, d)."""

    def forward(self, x, size, asked=(), ragged=()):
        return super().forward(x, size, tuple(as_geometries(y) for y in asked), ragged)


def module(widths=(4, 8, 2), radius=0.4, here=None, there=None, cells=None, **more):
    torch.manual_seed(0)
    rule, more = NeighbourRule(radius), {"act": "tanh"} | more
    return OnTensors(Side(here, cells), Side(there), widths, rule, **more).double()


def cloud(*shape: int, seed: int = 1):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network(net: Gno) -> nn.Module:
    """The kernel of x, y and maybe v(y), in one piece."""
    return nn.Sequential(net.first, *net.rest)


def make_one(net: Gno) -> None:
    """k(x, y) = 1."""
    with torch.no_grad():
        net.rest[-1].weight.zero_()
        net.rest[-1].bias.fill_(1.0)


@pytest.fixture
def searches(monkeypatch) -> list[torch.dtype]:
    """The number formats of the points of each search."""
    seen, search = [], neighbours.search

    def spied(points, queries, rule):
        seen.append(points.dtype)
        return search(points, queries, rule)

    monkeypatch.setattr(neighbours, "search", spied)
    neighbours.PAIR_CACHE.clear()
    return seen


# --- the sum


@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "integral"])
def test_the_result_is_that_of_a_matrix_over_all_pairs(kind, reduction):
    net = module((6 if kind == "nonlinear" else 4, 8, 2), kind=kind, reduction=reduction)
    p, q, v = cloud(50, 2), cloud(9, 2, seed=2), cloud(3, 50, 2, seed=3)
    at_x = q[None, :, None].expand(3, 9, 50, 2)
    at_y, values = p.expand(3, 9, 50, 2), v[:, None].expand(3, 9, 50, 2)
    kernel = network(net)(
        torch.cat((at_x, at_y, values) if kind == "nonlinear" else (at_x, at_y), -1)
    )
    near = (torch.cdist(q, p) <= 0.4).double()
    expected = torch.einsum("bijc,bjc,ij->bic", kernel, v, near)
    if reduction != "sum":
        expected = expected / near.sum(1)[:, None]
    if reduction == "integral":
        expected = expected * (math.pi * 0.4**2)
    torch.testing.assert_close(net(v, (9,), (p[None], q[None])), expected)


def test_the_order_of_the_points_does_not_matter():
    net, p, q, v = module(), cloud(1, 50, 2), cloud(1, 9, 2, seed=2), cloud(2, 50, 2, seed=3)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(net(v[:, order], (9,), (p[:, order], q)), net(v, (9,), (p, q)))


@pytest.mark.parametrize("shared", ["neither", "points", "queries"])
@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
def test_samples_with_points_of_their_own_are_as_one_at_a_time(shared, kind):
    net = module((6 if kind == "nonlinear" else 4, 8, 2), kind=kind)
    p, q, v = cloud(3, 50, 2), cloud(3, 9, 2, seed=2), cloud(3, 50, 2, seed=3)
    p, q = p[:1] if shared == "points" else p, q[:1] if shared == "queries" else q
    whole = net(v, (9,), (p, q))
    for b in range(3):
        one = slice(b, b + 1)
        mine = (p if shared == "points" else p[one], q if shared == "queries" else q[one])
        torch.testing.assert_close(whole[one], net(v[one], (9,), mine))


def test_coordinates_have_gradients():
    net, v = module(radius=9.0), cloud(2, 7, 2, seed=3)
    p, q = cloud(1, 7, 2).requires_grad_(), cloud(1, 4, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, q: net(v, (4,), (p, q)), (p, q))


# --- refinement


def wave(y: torch.Tensor) -> torch.Tensor:
    return (y[..., 0] * y[..., 1] + torch.cos(3 * y[..., 0]))[..., None]


def over_discs(net: Gno, queries: torch.Tensor, radius: float) -> torch.Tensor:
    """The integral of k(x, y) wave(y) over the disc around each x: Gauss in r, equal angles."""
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(24))
    r, turn = radius * (nodes + 1) / 2, torch.arange(48).double() * (2 * math.pi / 48)
    offsets = torch.stack((r[:, None] * turn.cos(), r[:, None] * turn.sin()), -1).flatten(0, 1)
    areas = (weights * r * radius / 2 * (2 * math.pi / 48))[:, None].expand(24, 48).flatten()
    y = queries[:, None] + offsets
    kernel = network(net)(torch.cat((queries[:, None].expand_as(y), y), -1))
    return torch.einsum("mnc,mnc,n->mc", kernel, wave(y), areas)


def order(steps, errors) -> float:
    """The slope of log error over log step."""
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def distance(found: torch.Tensor, exact: torch.Tensor) -> float:
    return ((found - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("reduction", ["mean", "integral"])
def test_on_a_grid_the_error_falls_like_the_step_to_three_halves(reduction):
    cells = GridWeights(*SQUARE) if reduction == "integral" else None
    net = module((4, 8, 1), 0.25, Coords(*SQUARE), reduction=reduction, cells=cells)
    q, numbers = 0.3 + 0.4 * cloud(200, 2), (17, 33, 65, 129)
    exact = over_discs(net, q, 0.25) / (1 if reduction == "integral" else math.pi / 16)
    errors = []
    for n in numbers:
        grid = net.here.place(size=(n, n), like=torch.empty(0).double())
        errors.append(distance(net(wave(grid), (200,), (q[None],))[0], exact))
    assert order([1 / (n - 1) for n in numbers], errors) == pytest.approx(1.5, abs=0.25)
    assert errors[-1] < 3e-3


@pytest.mark.parametrize("reduction", ["mean", "integral"])
def test_for_random_points_the_error_falls_like_one_over_the_root_of_their_number(reduction):
    net = module((4, 8, 1), 0.25, reduction=reduction)
    q, numbers = 0.3 + 0.4 * cloud(200, 2), (500, 2000, 8000, 32000)
    exact = over_discs(net, q, 0.25) / (1 if reduction == "integral" else math.pi / 16)
    errors = []
    for n in numbers:
        p = cloud(1, n, 2, seed=n)
        errors.append(distance(net(wave(p), (200,), (p, q[None]))[0], exact))
    assert order(numbers, errors) == pytest.approx(-0.5, abs=0.2)
    assert errors[-1] < 3e-2


@pytest.mark.parametrize("sampling", ["gauss_legendre", "lobatto", "equiangular"])
def test_on_a_sphere_the_integral_of_one_is_the_area_of_a_cap(sampling):
    """A cap that a chord r reaches from its pole has the area pi r^2."""
    net = module(
        (6, 4, 1),
        0.8,
        UnitVectors(sampling),
        reduction="integral",
        cells=SphereWeights(sampling),
    )
    make_one(net)
    q = normalize(cloud(100, 3) - 0.5, dim=-1)
    one = torch.ones(1, 64, 128, 1).double()
    found = net(one, (100,), (q[None],))
    assert (found / (math.pi * 0.8**2) - 1).abs().mean() < 5e-3


def test_a_sum_grows_with_the_points_and_says_so():
    net = module((4, 8, 1), 0.25, Coords(*SQUARE), reduction="sum")
    q = 0.3 + 0.4 * cloud(1, 50, 2)
    few, many = (
        net(wave(net.here.place(size=(n, n), like=q)), (50,), (q,)).norm().item() for n in (33, 65)
    )
    assert many / few == pytest.approx(4, rel=0.05)
    text = ON_A_GRID.replace("kernel = [8]", "kernel = [8], reduction = sum")
    assert [x.path for x, _ in certify(opdsl.compile(text).graph).diverging] == ["w.gno"]


@pytest.mark.parametrize(("d", "volume"), [(1, 4.0), (2, 4 * math.pi), (3, 32 * math.pi / 3)])
def test_a_ball_has_its_volume(d, volume):
    assert ball_volume(d, 2.0) == pytest.approx(volume)


def test_cells_cover_their_domain():
    like = torch.empty(0).double()
    assert GridWeights((0.0, 1.0), (2.0, 4.0), (True, False))(size=(5, 4), like=like).sum() == 6
    found = SphereWeights("lobatto")(size=(6, 9), like=like).sum().item()
    assert found == pytest.approx(4 * math.pi)


# --- what is remembered


@pytest.mark.parametrize("each", [False, True])
def test_the_same_coordinates_are_searched_once(searches, each):
    text = PROGRAM.replace("points(2)", "points(2, geometry = per_sample)") if each else PROGRAM
    model, v = opdsl.compile(text), torch.randn(3, 2, 50)
    shape = (3,) if each else ()
    p, q = cloud(*shape, 50, 2).float(), cloud(*shape, 9, 2, seed=2).float()
    first = model(v, P=p, Q=q)
    assert len(searches) == (3 if each else 1)
    assert torch.equal(model(v, P=p.clone(), Q=q), first)
    assert len(searches) == (3 if each else 1)


def test_new_coordinates_in_the_same_memory_are_searched_again(searches):
    net, p, q, v = module(), cloud(1, 50, 2), cloud(1, 9, 2, seed=2), cloud(2, 50, 2, seed=3)
    net(v, (9,), (p, q))
    p.copy_(cloud(1, 50, 2, seed=7))
    torch.testing.assert_close(net(v, (9,), (p, q)), module()(v, (9,), (p.clone(), q)))
    assert len(searches) == 2


@pytest.mark.parametrize("text", [PROGRAM, ON_A_GRID])
def test_what_was_found_in_inference_mode_serves_training_too(text):
    model, on_points = opdsl.compile(text), text == PROGRAM
    q = cloud(9, 2).float()
    v = torch.randn(2, 2, 50) if on_points else torch.randn(2, 2, 12, 12)
    more = {"P": cloud(50, 2, seed=2).float()} if on_points else {}
    with torch.inference_mode():
        before = model(v.clone(), Q=q.clone(), **{k: x.clone() for k, x in more.items()})
    after = model(v, Q=q, **more)
    assert torch.equal(before, after)
    after.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in model.parameters())


def test_autocast_does_not_move_the_points(searches):
    model, v = opdsl.compile(PROGRAM.replace("0.4", "0.05")), torch.randn(1, 2, 4000)
    p, q = cloud(4000, 2).float(), cloud(200, 2, seed=2).float()
    exact = model(v, P=p, Q=q)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = model(v, P=p, Q=q)
    assert searches == [torch.float32]  # the second call has the same coordinates
    assert distance(narrow.float(), exact) < 0.02


@pytest.mark.parametrize("on", ["points", "grid"])
def test_autocast_keeps_the_difference_of_points_that_are_close(on):
    """The kernel sees 40 (x - y) only; rounded to bfloat16 first, it would be noise."""
    net = module((4, 2, 1), 0.05, here=Coords(*SQUARE) if on == "grid" else None).float()
    with torch.no_grad():
        net.first.weight.copy_(40 * torch.cat((torch.eye(2), -torch.eye(2)), 1))
        net.first.bias.fill_(0.5)
    q, p = 0.1 + 0.8 * cloud(1, 100, 2).float(), cloud(1, 4000, 2, seed=2).float()
    shape, given = ((4000,), (p, q)) if on == "points" else ((63, 63), (q,))
    v = torch.ones(1, *shape, 1)
    exact = copy.deepcopy(net)(v, (100,), given)  # a copy: nothing is remembered from it
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = net(v.bfloat16(), (100,), given)
    assert distance(narrow.float(), exact) < 4e-3


def test_many_neighbours_add_up_in_half_precision():
    net = module((4, 3, 1), 2.0, reduction="sum").float()
    make_one(net)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net(
            torch.ones(1, 4000, 1).bfloat16(),
            (3,),
            (cloud(1, 4000, 2).float(), cloud(1, 3, 2).float()),
        )
    assert found.flatten().tolist() == pytest.approx([4000] * 3, rel=4e-3)


@pytest.mark.parametrize(
    ("domain", "power", "volume"),
    [
        ("grid(x: 0..1, y: 0..2, boundary = periodic)", 2, 2),
        ("grid(x: 0..1, y: 0..2)", 2, 2),
        ("sphere(lat, lon)", 3, 4 * math.pi),
    ],
)
def test_an_integral_that_reaches_all_points_is_over_the_whole_domain(domain, power, volume):
    text = PROGRAM.replace("P = points(2)", f"P = {domain}").replace("(2)", f"({power})")
    text = text.replace("0.4", "9.0, reduction = integral").replace("linear(out = 2) |> ", "")
    model = opdsl.compile(text)
    make_one(next(x for x in model.modules() if isinstance(x, Gno)))
    found = model(torch.ones(1, 2, 12, 16), Q=cloud(5, power).float())
    assert found.flatten().tolist() == pytest.approx([volume] * 10, rel=1e-5)


def test_a_program_of_other_dimensions_is_refused():
    with pytest.raises(OpError) as caught:
        opdsl.compile(PROGRAM.replace("Q = points(2)", "Q = points(3)"))
    found = caught.value.diagnostics[0]
    assert found.code == "OP0313"
    assert "2 and 3" in found.message


def test_a_vector_has_no_points():
    with pytest.raises(OpError) as caught:
        opdsl.compile(PROGRAM.replace("input v : P -> R^2", "input v : R^2"))
    assert caught.value.diagnostics[0].code == "OP0301"


def test_points_may_be_their_own_queries():
    model = opdsl.compile(PROGRAM.replace("  domain Q = points(2)\n", "").replace("Q", "P"))
    p, v = cloud(50, 2).float(), torch.randn(2, 2, 50)
    expected = opdsl.compile(PROGRAM)
    expected.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(v, P=p), expected(v, P=p, Q=p))


# --- the period that points declare

TORUS = PROGRAM.replace("points(2)", "points(2, period = (1.0, none))")
GRAPH = """edition 2026
model M {
  domain P = graph(2, geometry = per_sample PERIOD)
  input v : P -> R^2
  output w : P -> R^2
  w = v |> gno(to = P, along = edges, kernel = [8])
}"""
ACROSS = torch.tensor([1.0, 0.0], dtype=torch.float64)


def compiled(text: str) -> nn.Module:
    torch.manual_seed(0)
    return opdsl.compile(text).double()


def by_all_images(net: nn.Module, p: torch.Tensor, q: torch.Tensor, v: torch.Tensor):
    """The mean over all neighbours of the kernel at the nearest image, by a loop over queries."""
    gno = next(x for x in net.modules() if isinstance(x, Gno))
    f = next(x for x in net.modules() if isinstance(x, Linear) and x is not gno.first)(v[0].T)
    images = torch.stack([p + k * ACROSS for k in (-1, 0, 1)])
    found = []
    for x in q:
        far = (images - x).norm(dim=-1)
        best = far.argmin(0)
        near = (far.amin(0) <= 0.4).nonzero()[:, 0]
        y = images[best[near], near]
        k = network(gno)(torch.cat((x.expand_as(y), y), 1))
        found.append((k * f[near]).mean(0))
    return torch.stack(found, 1)[None]


def test_a_declared_period_is_gone_around():
    """The oracle is a loop over all images."""
    net, p, q = compiled(TORUS), cloud(60, 2), cloud(50, 2, seed=2)
    v = cloud(1, 2, 60, seed=3)
    around = net(v, P=p, Q=q)
    torch.testing.assert_close(around, by_all_images(net, p, q, v), rtol=1e-10, atol=1e-12)
    flat = compiled(PROGRAM)
    flat.load_state_dict(net.state_dict())
    assert (flat(v, P=p, Q=q) - around).norm() > 0.01 * around.norm()


def test_a_declared_period_may_be_switched_off():
    p, q, v = cloud(60, 2), cloud(50, 2, seed=2), cloud(1, 2, 60, seed=3)
    off = compiled(TORUS.replace("radius = 0.4", "radius = 0.4, wrap = false"))
    torch.testing.assert_close(off(v, P=p, Q=q), compiled(PROGRAM)(v, P=p, Q=q))


@pytest.mark.parametrize("which", ["P", "Q"])
def test_the_period_of_one_of_the_domains_is_that_of_space(which):
    text = PROGRAM.replace(f"{which} = points(2)", f"{which} = points(2, period = (1.0, none))")
    p, q, v = cloud(60, 2), cloud(50, 2, seed=2), cloud(1, 2, 60, seed=3)
    torch.testing.assert_close(compiled(text)(v, P=p, Q=q), compiled(TORUS)(v, P=p, Q=q))


def test_from_a_grid_with_two_ends_the_period_of_points_is_used():
    text = TORUS.replace("P = points(2, period = (1.0, none))", "P = grid(x: 0..1, y: 0..1)")
    p = torch.cartesian_prod(*[torch.linspace(0, 1, 9, dtype=torch.float64)] * 2)
    q, v = cloud(50, 2, seed=2), cloud(1, 2, 81, seed=3)
    found = compiled(text)(v.reshape(1, 2, 9, 9), Q=q)
    torch.testing.assert_close(found, compiled(TORUS)(v, P=p, Q=q), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("what", ["radius = 0.2", "nearest = 5", "radius = 0.2, mollifier = bump"])
def test_on_a_torus_all_points_may_be_shifted(what):
    """The kernel knows differences of coordinates only."""
    text = TORUS.replace("radius = 0.4", f"{what}").replace("none))", "1.0))")
    net = compiled(text)
    gno = next(x for x in net.modules() if isinstance(x, Gno))
    with torch.no_grad():
        gno.first.weight[:, 2:4] = -gno.first.weight[:, :2]
    p, q, v = cloud(200, 2), cloud(50, 2, seed=2), cloud(1, 2, 200, seed=3)
    by = torch.tensor([0.37, 0.61], dtype=torch.float64)
    moved = net(v, P=(p + by) % 1, Q=(q + by) % 1)
    torch.testing.assert_close(moved, net(v, P=p, Q=q), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("period", ["", ", period = (1.0, none)"])
def test_along_an_edge_the_kernel_sees_the_short_way_around(period):
    net, p, v = compiled(GRAPH.replace(" PERIOD", period)), cloud(40, 2), cloud(1, 2, 40, seed=3)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(4))
    edges = torch.stack((order, torch.arange(40)), 1)
    found = net(v, P=opdsl.Geometry(p, edges=edges))
    step = p[order] - p
    if period:
        step = step - (step * ACROSS).round() * ACROSS
    gno = next(x for x in net.modules() if isinstance(x, Gno))
    k = network(gno)(torch.cat((p, p + step), 1))
    torch.testing.assert_close(found[0].T, k * v[0].T[order], rtol=1e-9, atol=1e-11)


def test_a_radius_that_meets_a_point_twice_is_refused_with_a_way_out():
    wide = TORUS.replace("radius = 0.4", "radius = 0.6")
    (found,) = opdsl.check(wide).errors
    assert found.code == "OP0208"
    assert "`wrap = false` does not go around" in [x.text for x in found.helps]
    assert not opdsl.check(wide.replace("0.6", "0.6, wrap = false")).errors


def test_the_example_of_the_manual_meets_the_pairs_across_its_seam():
    """200 points in the unit square with a period on one axis, as all distances count them."""
    p = cloud(200, 2)
    images = torch.stack([p + k * ACROSS for k in (-1, 0, 1)])
    wanted = int((torch.cdist(images, p[None]).amin(0) <= 0.1).sum())
    flat = int((torch.cdist(p, p) <= 0.1).sum())
    net = compiled(TORUS.replace("radius = 0.4", "radius = 0.1, empty = zero"))
    gno = next(x for x in net.modules() if isinstance(x, Gno))
    found = len(neighbours.neighbours(*as_geometries(p), *as_geometries(p), gno.rule))
    assert found == wanted
    assert wanted > flat
