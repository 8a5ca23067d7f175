"""Weights of points: sums, closed forms, rates of convergence, cells of scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull, Delaunay, Voronoi
from torch.nn.functional import normalize

from opdsl import Geometry, OpError
from opdsl.nn.points import measure
from opdsl.nn.points.digest import digest
from opdsl.nn.points.measure import (
    cell_weights,
    density_weights,
    quadrature_weights,
    voronoi_weights,
)


def cloud(*shape: int, seed: int = 1):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def order(errors):
    """How the error falls as the step is halved, last."""
    return math.log2(errors[-2] / errors[-1])


def octahedron(level):
    """A sphere of 8 * 4^level triangles."""
    eye = torch.eye(3, dtype=torch.float64)
    points = torch.cat((eye, -eye))
    cells = torch.tensor([[i, j, k] for i in (0, 3) for j in (1, 4) for k in (2, 5)])
    for _ in range(level):
        edges = cells[:, [[0, 1], [1, 2], [2, 0]]].sort(-1).values
        ends, numbers = edges.reshape(-1, 2).unique(dim=0, return_inverse=True)
        middle = (numbers + len(points)).reshape(-1, 3)
        points = normalize(torch.cat((points, points[ends].sum(1))))
        a, b, c = cells.T
        p, q, r = middle.T
        cells = torch.cat([torch.stack(x, 1) for x in ((a, p, r), (b, q, p), (c, r, q), (p, q, r))])
    return points, cells


def wavy(n, corners):
    """A square of (n - 1)^2 cells, bent smoothly, as triangles or quadrilaterals."""
    line = torch.linspace(0, 1, n, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="ij")
    bump = 0.1 * torch.sin(math.pi * x) * torch.sin(math.pi * y)
    number = torch.arange(n * n).reshape(n, n)
    a, b, c, d = (
        z.flatten() for z in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:])
    )
    quads = torch.stack((a, b, c, d), 1)
    cells = quads if corners == 4 else torch.cat((quads[:, :3], quads[:, [0, 2, 3]]))
    return torch.stack((x + bump, y - bump), -1).reshape(-1, 2), cells


# --- cells


def test_each_cell_is_shared_evenly_by_its_corners():
    corner = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4]])
    assert cell_weights(corner[:, :1], torch.tensor([[0, 1]])).tolist() == [1, 1, 0, 0]
    assert cell_weights(corner, torch.tensor([[0, 1, 2]])).tolist() == [1, 1, 1, 0]
    assert cell_weights(corner, torch.tensor([[0, 1, 2, 3]])).tolist() == [1, 1, 1, 1]


def test_quadrilaterals_and_hexahedra_have_their_area_and_volume():
    box = torch.tensor([[0.0, 0, 0], [2, 0, 0], [2, 3, 0], [0, 3, 0]]).double()
    shear = torch.tensor([[1.0, 0, 0], [0.3, 1, 0], [0.2, 0.7, 1]]).double()
    box = torch.cat((box, box + torch.tensor([0, 0, 5.0]))) @ shear
    assert cell_weights(box, torch.arange(8)[None]).tolist() == pytest.approx([30 / 8] * 8)
    assert cell_weights(box[:4, :2], torch.arange(4)[None]).tolist() == pytest.approx([6 / 4] * 4)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_the_size_of_a_simplex_does_not_depend_on_the_space_around(d):
    turn = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(d)).double()).Q
    triangles, cells = cloud(30, 2), torch.tensor([[i, i + 1, i + 2] for i in range(28)])
    a, b, c = (triangles[cells[:, i]] for i in range(3))
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs() / 2
    flat = torch.nn.functional.pad(triangles, (0, d - 2)) @ turn
    found = cell_weights(flat, cells)
    expected = torch.zeros(30, dtype=torch.float64).index_add(
        0, cells.flatten(), areas.repeat_interleave(3) / 3
    )
    torch.testing.assert_close(found, expected)


def test_the_area_of_a_sphere_of_triangles_converges_with_order_two():
    errors = []
    for level in range(2, 5):
        points, cells = octahedron(level)
        found = cell_weights(points, cells)
        exact = torch.tensor([4 * math.pi, 4 * math.pi / 3])
        sums = torch.stack((found.sum(), (found * points[:, 2] ** 2).sum()))
        errors.append((sums - exact).abs().max().item())
    assert order(errors) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("corners", [3, 4])
def test_integrals_over_a_bent_mesh_converge_with_order_two(corners):
    exact = (math.e - 1) * math.sin(1)
    errors = []
    for n in (9, 17, 33):
        points, cells = wavy(n, corners)
        f = points[:, 0].exp() * points[:, 1].cos()
        errors.append(abs((cell_weights(points, cells) * f).sum().item() - exact))
    assert order(errors) == pytest.approx(2, abs=0.1)


def test_tetrahedra_fill_their_hull():
    points = cloud(60, 3)
    cells = torch.from_numpy(Delaunay(points.numpy()).simplices).long()
    assert cell_weights(points, cells).sum().item() == pytest.approx(
        ConvexHull(points.numpy()).volume
    )


# --- Voronoi cells


@pytest.mark.parametrize("n", [2, 3, 40, 500])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_voronoi_cells_fill_the_box(d, n):
    points = 3 * cloud(n, d) - 1
    found = voronoi_weights(points)
    box = (points.amax(0) - points.amin(0)).prod().item()
    assert (found > 0).all()
    assert found.sum().item() == pytest.approx(box, rel=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_on_a_lattice_they_are_the_trapezoidal_rule(d):
    line = torch.linspace(0, 1, 6, dtype=torch.float64)
    one = torch.tensor([0.1, 0.2, 0.2, 0.2, 0.2, 0.1]).double()
    points = torch.cartesian_prod(*[line] * d).reshape(-1, d)
    expected = torch.cartesian_prod(*[one] * d).reshape(-1, d).prod(1)
    torch.testing.assert_close(voronoi_weights(points), expected)


@pytest.mark.parametrize("d", [2, 3])
def test_cells_inside_of_the_box_are_those_of_scipy(d):
    points = cloud(200, d)
    diagram, found = Voronoi(points.numpy()), voronoi_weights(points)
    lo, hi = points.amin(0).numpy(), points.amax(0).numpy()
    compared = 0
    for i, region in enumerate(diagram.point_region):
        corners = diagram.regions[region]
        places = diagram.vertices[corners]
        if -1 not in corners and (places >= lo).all() and (places <= hi).all():
            assert found[i].item() == pytest.approx(ConvexHull(places).volume, rel=1e-9)
            compared += 1
    assert compared > 40


@pytest.mark.parametrize("d", [2, 3])
def test_cut_cells_have_the_share_of_random_places_that_are_nearest(d):
    points, places = cloud(12, d), cloud(200_000, d, seed=2)
    lo, hi = points.amin(0), points.amax(0)
    places = lo + places * (hi - lo)
    share = torch.cdist(places, points).argmin(1).bincount(minlength=12) / len(places)
    found = voronoi_weights(points) / (hi - lo).prod()
    assert (found - share).abs().max().item() < 5 * math.sqrt(0.25 / len(places))


@pytest.mark.parametrize("n", [1, 2, 5, 300])
@pytest.mark.parametrize("period", [(1.5,), (1.5, 0.5), (1.0, 2.0, 1.0)])
def test_in_a_periodic_space_cells_fill_a_period_and_may_be_moved(period, n):
    size = torch.tensor(period, dtype=torch.float64)
    points = cloud(n, len(period)) * size
    found = voronoi_weights(points, period)
    assert found.sum().item() == pytest.approx(math.prod(period), rel=1e-9)
    moved = points + torch.tensor([0.3, -0.77, 5.1]).double()[: len(period)]
    torch.testing.assert_close(voronoi_weights(moved, period), found)


def test_cells_of_a_cluster_reach_its_images():
    points = 0.4 + 0.05 * cloud(400, 2)
    moves = torch.cartesian_prod(*[torch.tensor([0.0, 1.0, -1.0]).double()] * 2)
    tiled = (points + moves[:, None]).reshape(-1, 2)
    found = voronoi_weights(points, (1.0, 1.0))
    assert found.sum().item() == pytest.approx(1, rel=1e-9)
    torch.testing.assert_close(found, voronoi_weights(tiled)[:400])


def test_where_one_axis_repeats_the_others_have_ends():
    points, size = cloud(100, 2), torch.tensor([1.0, 0.0]).double()
    tiled = torch.cat([points + i * size for i in (-1, 0, 1)])
    height = (points[:, 1].max() - points[:, 1].min()).item()
    found = voronoi_weights(points, (1.0, None))
    assert found.sum().item() == pytest.approx(height, rel=1e-9)
    torch.testing.assert_close(found, voronoi_weights(tiled)[100:200])


def test_integrals_by_voronoi_cells_converge_faster_than_means():
    errors = {"voronoi": [], "mean": []}
    for n in (100, 1600):
        found = {"voronoi": 0.0, "mean": 0.0}
        for seed in range(8):
            points = torch.cat(
                (
                    cloud(n, 2, seed=seed),
                    torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 2),
                )
            )
            f = points[:, 0].exp() * points[:, 1].cos()
            exact = (math.e - 1) * math.sin(1)
            found["voronoi"] += abs((voronoi_weights(points) * f).sum().item() - exact)
            found["mean"] += abs(f.mean().item() - exact)
        for k, x in found.items():
            errors[k].append(x / 8)
    # sixteen times as many points, a quarter of the step: order 2 in the step, and 1 at random
    assert errors["voronoi"][0] / errors["voronoi"][1] > 8
    assert 2 < errors["mean"][0] / errors["mean"][1] < 7
    assert errors["voronoi"][1] < errors["mean"][1] / 8


# --- densities


@pytest.mark.parametrize("d", [1, 2, 3])
def test_densities_sum_to_the_volume_of_a_periodic_space(d):
    found = density_weights(2 * cloud(4000, d), (2.0,) * d)
    assert found.sum().item() == pytest.approx(2**d, rel=0.02)


def test_on_a_surface_densities_are_areas():
    random = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sphere = normalize(random)
    found = density_weights(sphere)
    assert found.sum().item() == pytest.approx(4 * math.pi, rel=0.03)
    assert (found * sphere[:, 2] ** 2).sum().item() == pytest.approx(4 * math.pi / 3, rel=0.05)


@pytest.mark.parametrize(("d", "n"), [(2, 30), (3, 12)])
def test_lattices_are_no_surfaces(d, n):
    line = torch.arange(n, dtype=torch.float64) / n
    found = density_weights(torch.cartesian_prod(*[line] * d), (1.0,) * d)
    assert found.sum().item() == pytest.approx(1, rel=0.3)


def test_where_points_are_denser_they_weigh_less():
    x = cloud(20_000, 1)
    y = x.square()  # of density 1 / (2 sqrt(y))
    found = density_weights(y)[(y > 0.05)[:, 0] & (y < 0.95)[:, 0]]
    exact = (2 * x / 20_000)[(y > 0.05) & (y < 0.95)]
    assert (found / exact).mean().item() == pytest.approx(1, rel=0.02)


# --- which count


def test_weights_count_before_cells_and_cells_before_estimates():
    points, cells = cloud(3, 2), torch.tensor([[0, 1, 2]])
    given = torch.tensor([1.0, 2, 3])
    assert quadrature_weights(Geometry(points, given, cells), "density") is given
    area = cell_weights(points, cells)
    torch.testing.assert_close(quadrature_weights(Geometry(points, None, cells), "uniform"), area)
    torch.testing.assert_close(
        quadrature_weights(Geometry(points), "voronoi"), voronoi_weights(points)
    )
    assert quadrature_weights(Geometry(points), "uniform") is None
    told = [
        measure.weight_source(Geometry(points, *x), "density")
        for x in ((given,), (None, cells), ())
    ]
    assert told == ["weights", "cells", "density"]


def test_weights_are_found_once_for_a_geometry(monkeypatch):
    made, whole = [], measure.voronoi_weights
    monkeypatch.setattr(measure, "voronoi_weights", lambda *x: (made.append(1), whole(*x))[1])
    measure.WEIGHT_CACHE.clear()
    points = cloud(40, 2)
    first = quadrature_weights(Geometry(points), "voronoi")
    assert quadrature_weights(Geometry(points.clone()), "voronoi") is first
    quadrature_weights(Geometry(points), "voronoi", (1.0, 2.0))
    quadrature_weights(Geometry(points + 1), "voronoi")
    assert len(made) == 3


def test_weights_found_in_inference_mode_serve_a_gradient():
    points, v = cloud(40, 2).float(), torch.ones(40, requires_grad=True)
    measure.WEIGHT_CACHE.clear()
    with torch.inference_mode():
        found = quadrature_weights(Geometry(points), "density")
    (found * v).sum().backward()
    assert found.dtype == torch.float32
    assert torch.equal(v.grad, found)


# --- refused


def refused(*args):
    with pytest.raises(OpError) as caught:
        quadrature_weights(*args)
    (found,) = caught.value.diagnostics
    return found


COPIES = torch.tensor([[0.0, 0], [1, 0], [0, 1], [0, 1], [0, 1]])


@pytest.mark.parametrize(
    ("geometry", "how", "said"),
    [
        (Geometry(COPIES), "voronoi", "2 of 5 points lie where another one does"),
        (Geometry(COPIES[[0, 0, 0]]), "density", "3 of 3 points lie where another one does"),
        (Geometry(COPIES[:2]), "voronoi", "all points have the same coordinate 1"),
        (Geometry(COPIES[:1]), "density", "one point has no neighbours"),
        (Geometry(COPIES), "given", "the points bring neither weights nor cells"),
        (Geometry(COPIES, COPIES[:, 0] - 1), "given", "4 of 5 weights are negative or no numbers"),
        (Geometry(COPIES, COPIES[:, 0] * 0), "given", "all 5 weights are zero"),
        (Geometry(COPIES, None, torch.tensor([[0, 1, 5]])), "given", "a cell has the corner 5"),
        (Geometry(COPIES, None, torch.tensor([[0, 1, -1]])), "given", "a cell has the corner -1"),
        (Geometry(COPIES, None, torch.tensor([[2, 3, 4]])), "given", "all 1 cells are empty"),
        (Geometry(COPIES, None, torch.zeros(0, 3).long()), "given", "all 0 cells are empty"),
        (
            Geometry(COPIES, None, torch.tensor([[0, 1, 2, 3, 4]])),
            "given",
            "cells of 5 corners in 2 dimensions are not known",
        ),
        (
            Geometry(torch.nn.functional.pad(COPIES, (0, 1)), None, torch.tensor([[0, 1, 2, 3]])),
            "given",
            "four corners in space are a tetrahedron, and all of these are flat",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_gives_no_weights_is_refused(geometry, how, said):
    found = refused(geometry, how)
    assert found.code == "OP0910"
    assert said in found.message
    assert found.helps


@pytest.mark.parametrize("how", ["voronoi", "density"])
def test_coordinates_that_are_no_numbers_have_no_weights(how):
    points = cloud(9, 2)
    points[3] = torch.inf
    assert refused(Geometry(points), how).code == "OP0612"


# --- the key of a geometry


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8])
def test_every_bit_place_shape_and_format_counts(dtype):
    x = (100 * cloud(5, 3)).to(dtype)
    others = [x.flip(0), x.T, x.reshape(3, 5), x[:4], torch.cat((x, 0 * x)), -x, x.to(torch.int32)]
    for i in range(x.numel()):
        y = x.clone()
        y.view(-1).view(torch.uint8)[i * x.element_size()] ^= 1
        others.append(y)
    found = {digest(y) for y in (x, *others)}
    assert len(found) == len(others) + 1
    assert digest(x.T.contiguous().T) == digest(x.clone()) == digest(x)


def test_keys_do_not_depend_on_how_a_tensor_is_cut_for_them(monkeypatch):
    x = cloud(1001, 3)
    before = digest(x)
    monkeypatch.setattr("opdsl.nn.points.digest.BLOCK", 100)
    assert digest(x) == before


def test_signs_and_swaps_of_special_numbers_count():
    special = torch.tensor([0.0, -0.0, 1.0, -1.0, torch.inf, -torch.inf])
    found = {digest(x) for x in torch.cartesian_prod(*[special] * 4)}
    assert len(found) == 6**4


def test_many_clouds_have_as_many_keys():
    found = {digest(x) for x in np.array_split(cloud(15_000, 1), 5_000)}
    assert len(found) == 5_000
