"""Multipole levels: one level is `gno`, two are dense matrices, lattices have limits."""

import copy
import math

import pytest
import torch

import opdsl
from opdsl import OpError, Packed
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.integral.gno import Gno, Side
from opdsl.nn.points.integral.multipole import Multipole, MultipoleLevel
from opdsl.nn.points.lattice import LEVEL_CACHE, coarsen, lattice_cells
from opdsl.nn.points.neighbours.search import NeighbourRule, neighbours

LEVELS = (MultipoleLevel(0.3, 0.0), MultipoleLevel(0.6, 0.3), MultipoleLevel(1.2, 0.6))
PROGRAM = """edition 2026
model M {
  domain P = points(2, geometry = per_sample, measure = density PERIOD)
  input v : P -> R^2
  output w : P -> R^2
  w = v |> linear(out = 2) |> multipole_gno(radius = 0.2 MORE)
}"""


def cloud(n: int, seed: int = 1, dims: int = 2) -> torch.Tensor:
    made = torch.Generator().manual_seed(seed)
    return torch.rand(n, dims, dtype=torch.float64, generator=made)


def module(levels=LEVELS, measure="uniform", **more) -> Multipole:
    torch.manual_seed(0)
    more = {"act": "tanh", "between": "tanh"} | more
    return Multipole(Side(measure=measure), levels, 2, (4, 6, 2), **more).double()


def weighed(n: int, seed: int = 1) -> Geometry:
    return Geometry(cloud(n, seed), weights=cloud(n, seed + 50, 1)[:, 0] / n)


def parts(place: Geometry, spacing: float) -> torch.Tensor:
    """The cell of each point by a loop over rows: (cells, points), ones and zeros."""
    keys = [tuple(math.floor(y / spacing) for y in x) for x in place.points.tolist()]
    names = sorted(set(keys))
    return torch.tensor([[float(k == name) for k in keys] for name in names]).double()


def make_constant(net: Multipole) -> list[float]:
    """Kernels that are numbers, each another one, in the order of `_kernels`."""
    numbers = []
    with torch.no_grad():
        for i, gno in enumerate((*net.within, *net.down, *net.up)):
            gno.rest[-1].weight.zero_()
            gno.rest[-1].bias.fill_(0.5 + i)
            numbers.append(0.5 + i)
    return numbers


# --- levels


def test_a_level_is_the_centres_of_mass_of_cells_and_their_weights():
    place = weighed(60)
    cells = parts(place, 0.3)
    found = coarsen(place, (0.3,), "uniform")[0]
    total = cells @ place.weights
    torch.testing.assert_close(found.weights, total, rtol=1e-12, atol=0)
    centres = cells @ (place.weights[:, None] * place.points) / total[:, None]
    torch.testing.assert_close(found.points, centres, rtol=1e-12, atol=0)
    assert torch.equal(found.shares, cells.sum(1))


@pytest.mark.parametrize("spacing", [0.05, 0.3, 5.0])
def test_weights_of_every_level_have_the_same_sum(spacing):
    place = weighed(200)
    found = coarsen(place, (spacing, 2 * spacing), "uniform")
    for level in found:
        assert float(level.weights.sum()) == pytest.approx(float(place.weights.sum()), rel=1e-12)


def test_points_of_no_weight_have_their_mean_as_centre():
    place = Geometry(torch.tensor([[0.1], [0.3], [1.5]]), weights=torch.tensor([0.0, 0.0, 1.0]))
    found = coarsen(place, (1.0,), "uniform")[0]
    torch.testing.assert_close(found.points, torch.tensor([[0.2], [1.5]]))


def test_a_whole_number_of_cells_fits_into_a_period():
    points = (torch.arange(20).double()[:, None] + 0.5) / 20
    numbers, count = lattice_cells(points, 0.3, (1.0,))
    assert count == 4
    assert torch.equal(numbers.bincount(), torch.tensor([5, 5, 5, 5]))


def test_points_around_the_period_are_in_the_same_cell():
    points = torch.tensor([[0.1, 0.1], [1.1, -0.9]])
    assert len(coarsen(Geometry(points), (0.25,), None, (1.0, 1.0))[0]) == 1


def test_levels_are_found_once_for_a_geometry():
    LEVEL_CACHE.clear()
    found = coarsen(Geometry(cloud(30)), (0.3,), "uniform")
    again = coarsen(Geometry(cloud(30)), (0.3,), "uniform")
    assert found[0] is again[0]
    other = coarsen(Geometry(cloud(30), weights=torch.ones(30)), (0.3,), "uniform")
    assert other[0].weights is not None


def test_a_coordinate_that_is_no_number_is_refused():
    with pytest.raises(OpError, match="NaN") as found:
        coarsen(Geometry(torch.tensor([[math.nan]])), (0.3,), None)
    assert found.value.diagnostics[0].code == "OP0612"


# --- the cycle


@pytest.mark.parametrize("reduction", ["mean", "integral"])
@pytest.mark.parametrize("place", [weighed(40), Geometry(cloud(40))], ids=["weighed", "bare"])
def test_one_level_is_the_kernel_integral(reduction, place):
    net = module(LEVELS[:1], reduction=reduction)
    side = Side()
    plain = Gno(side, side, (4, 6, 2), NeighbourRule(0.3), act="tanh", reduction=reduction).double()
    plain.load_state_dict(net.within[0].state_dict())
    v = cloud(80, 9).reshape(2, 40, 2)
    expected = plain(v, (40,), ((place,), (place,)))
    torch.testing.assert_close(net(v, ((place,),)), expected, rtol=1e-12, atol=1e-14)


def ball_sums(queries, points, counts, radius, *, mean):
    """Dense: sum over points in the ball, or their mean times the area of the ball."""
    near = (torch.cdist(queries, points) <= radius).double() * counts
    return near / near.sum(1, keepdim=True) * math.pi * radius**2 if mean else near


@pytest.mark.parametrize("place", [weighed(40), Geometry(cloud(40))], ids=["weighed", "bare"])
def test_two_levels_with_constant_kernels_are_a_cycle_of_dense_matrices(place):
    net = module(LEVELS[:2])
    a, b, down, up = make_constant(net)
    cells, bare = parts(place, 0.3), place.weights is None
    fine = torch.ones(40).double() if bare else place.weights
    heavy = cells @ fine
    centres = cells @ (fine[:, None] * place.points) / heavy[:, None]
    v = cloud(40, 9)

    def far(queries, points, counts, radius):
        return ball_sums(queries, points, counts, radius, mean=bare)

    v2 = torch.tanh(down * far(centres, place.points, fine, 0.6) @ v)
    w2 = b * far(centres, centres, heavy, 0.6) @ v2 + v2 @ net.mix[0].weight.T
    w = a * far(place.points, place.points, fine, 0.3) @ v
    expected = w + up * far(place.points, centres, heavy, 0.6) @ torch.tanh(w2)
    found = net(v[None], ((place,),))[0]
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_without_activations_the_result_is_linear():
    net, place = module(between="identity"), (weighed(50),)
    u, v = cloud(100, 3).reshape(2, 1, 50, 2)
    whole = net(2 * u - 3 * v, (place,))
    apart = 2 * net(u, (place,)) - 3 * net(v, (place,))
    torch.testing.assert_close(whole, apart, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "integral"])
def test_points_in_another_order_give_the_result_in_that_order(reduction):
    net, place = module(reduction=reduction), weighed(70)
    v, order = cloud(70, 3)[None], torch.randperm(70, generator=torch.Generator().manual_seed(4))
    moved = Geometry(place.points[order], weights=place.weights[order])
    expected = net(v, ((place,),))[:, order]
    torch.testing.assert_close(net(v[:, order], ((moved,),)), expected, rtol=1e-10, atol=1e-12)


def test_packed_samples_and_batches_are_each_sample_alone():
    net, places = module(), (weighed(40), weighed(25, 2))
    parts_ = [cloud(len(g), 7)[None] for g in places]
    alone = [net(v, ((g,),)) for v, g in zip(parts_, places, strict=True)]
    packed = net(torch.cat(parts_, 1), (places,), ((40, 25), (40, 25)))
    torch.testing.assert_close(packed, torch.cat(alone, 1), rtol=1e-10, atol=1e-12)
    twice = (places[0], weighed(40, 5))
    both = net(parts_[0].expand(2, -1, -1), (twice,))
    torch.testing.assert_close(both[:1], alone[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(both[1:], net(parts_[0], (twice[1:],)), rtol=1e-10, atol=1e-12)


def test_a_geometry_that_all_packed_samples_share_is_that_of_each():
    net, place, v = module(), weighed(30), cloud(60, 7)[None]
    packed = net(v, ((place,),), ((30, 30), (30, 30)))
    both = net(v.reshape(2, 30, 2), ((place,),))
    torch.testing.assert_close(packed.reshape(2, 30, 2), both, rtol=1e-10, atol=1e-12)


def test_gradients_of_all_weights_and_of_values_are_differences():
    net, place = module(LEVELS[:2]), weighed(9)
    v = cloud(9, 3)[None].requires_grad_()
    names, values = zip(*net.named_parameters(), strict=True)

    def run(v, *given):
        return torch.func.functional_call(
            net, dict(zip(names, given, strict=True)), (v, ((place,),))
        )

    assert torch.autograd.gradcheck(run, (v, *values), fast_mode=True)


# --- refinement


def jittered(n: int, seed: int) -> Geometry:
    """n x n points, one at random in each cell of a grid: equal areas, error of a quadrature."""
    line = torch.arange(n).double()
    return Geometry(
        (torch.cartesian_prod(line, line) + cloud(n * n, seed)) / n,
        weights=torch.full((n * n,), 1 / n**2, dtype=torch.float64),
    )


def at_corners(net: Multipole, place: Geometry) -> torch.Tensor:
    """The result at 16 points that all clouds share; they weigh nothing."""
    line = torch.linspace(0.12, 0.91, 4).double()
    shared = torch.cartesian_prod(line, line)
    points = torch.cat((shared, place.points))
    weights = torch.cat((torch.zeros(16).double(), place.weights))
    v = torch.stack((torch.sin(3 * points[:, 0]), torch.cos(2 * points[:, 1])), 1)
    return net(v[None], ((Geometry(points, weights=weights),),))[0, :16]


def errors(net: Multipole) -> list[float]:
    """Of 8, 16, 32 points per axis, root mean square over three clouds each."""
    limit = at_corners(net, jittered(64, 99))
    clouds = [[at_corners(net, jittered(n, s)) for s in range(3)] for n in (8, 16, 32)]
    return [float(torch.stack([x - limit for x in some]).square().mean().sqrt()) for some in clouds]


def test_denser_points_change_the_result_by_the_error_of_the_quadrature():
    with torch.no_grad():
        found = errors(module())
    slope = math.log(found[0] / found[-1]) / math.log(4)
    assert slope > 1.0, found
    assert found[1] < found[0]
    assert found[2] < found[1]


def test_coarse_levels_keep_their_size_as_points_get_denser():
    counts = [[len(x) for x in coarsen(jittered(n, 0), (0.25, 0.5), None)] for n in (20, 40, 80)]
    assert counts == [[16, 4]] * 3


# --- what it costs


def pairs(net: Multipole, place: Geometry) -> int:
    """All pairs of all kernels."""
    levels = (place, *coarsen(place, tuple(x.spacing for x in net.levels[1:]), None))
    of = [(net.within[i].rule, g, g) for i, g in enumerate(levels)]
    of += [(net.down[i].rule, levels[i], levels[i + 1]) for i in range(len(levels) - 1)]
    of += [(net.up[i].rule, levels[i + 1], levels[i]) for i in range(len(levels) - 1)]
    return sum(len(neighbours(p, q, rule)) for rule, p, q in of)


def test_all_distances_cost_as_many_pairs_as_points_where_one_radius_costs_their_square():
    found = []
    for k in (4, 5, 6):  # points 4 times as many, the radius half as far, a level more
        n = 2**k
        radii = [1.5 / n * 2**i for i in range(k + 1)]
        levels = tuple(MultipoleLevel(r, r / 2 if i else 0.0) for i, r in enumerate(radii))
        assert radii[-1] == 1.5  # of the coarsest: from corner to corner
        found.append(pairs(module(levels), jittered(n, 0)) / n**2)
    assert max(found) < 1.3 * min(found)
    assert max(found) < 70
    everything = neighbours(jittered(32, 0), jittered(32, 0), NeighbourRule(1.5))
    assert len(everything) == 32**4


# --- the block


def program(more="", period="") -> str:
    return PROGRAM.replace("MORE", more).replace("PERIOD", period)


def test_a_program_takes_packed_points_as_each_alone():
    torch.manual_seed(0)
    net = opdsl.compile(program()).double()
    places = [cloud(40), cloud(30, 2)]
    values = [cloud(len(x), 5).T for x in places]
    found = net(Packed.of(values), P=places)
    for part, v, x in zip(found.parts, values, places, strict=True):
        torch.testing.assert_close(part, net(v[None], P=x)[0], rtol=1e-9, atol=1e-12)


def test_on_a_torus_the_result_moves_with_points_and_function():
    """By one cell of every level: kernels of differences only, so that nothing else knows place."""
    torch.manual_seed(0)
    text = program(", levels = 2, wrap = true", ", period = [1.0, 1.0]")
    net = opdsl.compile(text.replace("density", "uniform")).double()
    for gno in net.modules():
        if isinstance(gno, Gno):
            with torch.no_grad():
                gno.first.weight[:, 2:4] = -gno.first.weight[:, :2]
    points, v = cloud(90), cloud(90, 3).T[None]
    moved = net(v, P=(points + torch.tensor([0.4, 0.6]).double()) % 1)
    torch.testing.assert_close(moved, net(v, P=points), rtol=1e-8, atol=1e-10)
    flat = opdsl.compile(program(", levels = 2")).double()
    flat.load_state_dict(copy.deepcopy(net.state_dict()))
    around = net(v, P=points)
    assert (flat(v, P=points) - around).norm() > 0.05 * around.norm()


@pytest.mark.parametrize(
    ("more", "period", "code", "told"),
    [
        (", per_radius = 1.2", "", "OP0208", "longer across"),
        (", wrap = true", "", "OP0208", "period of space"),
        (", wrap = true", ", period = [1.0, 1.0]", "OP0208", "met twice"),
    ],
)
def test_what_contradicts_itself_is_refused(more, period, code, told):
    with pytest.raises(OpError, match=told) as found:
        opdsl.compile(program(more, period))
    assert found.value.diagnostics[0].code == code


def test_grids_are_refused():
    given = "points(2, geometry = per_sample, measure = density )"
    text = program().replace(given, "grid(x: 0..1, min = 8)")
    with pytest.raises(OpError, match="`P` is a regular grid") as found:
        opdsl.compile(text)
    assert found.value.diagnostics[0].code == "OP0301"


def test_a_declared_period_is_gone_around_unless_it_is_switched_off():
    torch.manual_seed(0)
    period = ", period = [1.0, 1.0]"
    net = opdsl.compile(program(", levels = 2, wrap = true", period)).double()
    points, v = cloud(90), cloud(90, 3).T[None]
    for more, same in ((", levels = 2", True), (", levels = 2, wrap = false", False)):
        other = opdsl.compile(program(more, period)).double()
        other.load_state_dict(net.state_dict())
        gap = (other(v, P=points) - net(v, P=points)).norm() / net(v, P=points).norm()
        assert (gap < 1e-12) == same


def test_too_wide_a_level_is_refused_where_a_period_is_declared():
    period = ", period = [1.0, 1.0]"
    (found,) = opdsl.check(program("", period)).errors
    assert "met twice" in found.message
    assert not opdsl.check(program(", wrap = false", period)).errors
