"""Distances from surfaces: closed forms, a search over everything, and surfaces that are none."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import skfem
import torch
from scipy.spatial import ConvexHull, cKDTree

from opdsl.data.derive import distance as ours
from opdsl.data.derive.distance import distance, nearest, signed_distance, surface, winding
from opdsl.diagnostics import OpError
from opdsl.nn.points.geometry import Geometry


def sphere(count, radii=(1.0, 1.0, 1.0)):
    """A convex triangulation of points on an ellipsoid, turning outwards."""
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    points = np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], 1)
    cells = ConvexHull(points).simplices
    a, b, c = points[cells].transpose(1, 0, 2)
    turned = (np.cross(b - a, c - a) * a).sum(1) < 0
    cells[turned] = cells[turned][:, ::-1]
    return of(points * radii, cells)


def of(points, cells=None):
    cells = None if cells is None else torch.as_tensor(np.array(cells, np.int64))
    return Geometry(torch.as_tensor(np.array(points, float)), cells=cells)


def cube():
    """The surface of the unit cube."""
    mesh = skfem.MeshHex()
    corners = mesh.facets.T[:, [0, 1, 2, 3]]
    triangles = []
    for quad in corners:
        p = mesh.p.T[quad]
        order = quad[np.argsort(np.arctan2(*in_plane(p)))]
        triangles += [order[[0, 1, 2]], order[[0, 2, 3]]]
    points, triangles = mesh.p.T, np.array(triangles)
    a, b, c = points[triangles].transpose(1, 0, 2)
    turned = (np.cross(b - a, c - a) * (a + b + c - 1.5)).sum(1) < 0
    triangles[turned] = triangles[turned][:, ::-1]
    return of(points, triangles)


def in_plane(p):
    return [(p - p.mean(0))[:, i] for i in np.flatnonzero(np.ptp(p, axis=0) > 0)]


def asked(count, d, reach=1.5, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).uniform(-reach, reach, (count, d)))


def box_distance(q, centre, half):
    """The closed form for a box."""
    out = np.abs(q - centre) - half
    return np.linalg.norm(np.maximum(out, 0), axis=1) + np.minimum(out.max(1), 0)


def test_the_distance_from_a_cube_is_its_closed_form():
    q = asked(4000, 3, 2.0)
    want = box_distance(q.numpy(), 0.5, 0.5)
    assert signed_distance(cube(), q).numpy() == pytest.approx(want, abs=1e-14)


def test_the_distance_from_a_square_in_the_plane_is_its_closed_form():
    square = of([[0, 0], [1, 0], [1, 1], [0, 1]], [[0, 1], [1, 2], [2, 3], [3, 0]])
    q = asked(4000, 2, 2.0)
    want = box_distance(q.numpy(), 0.5, 0.5)
    assert signed_distance(square, q).numpy() == pytest.approx(want, abs=1e-14)


def test_the_distance_from_a_sphere_converges_with_order_two():
    q = asked(300, 3)
    want = torch.linalg.norm(q, dim=1) - 1
    counts = (100, 400, 1600)
    errors = [(signed_distance(sphere(n), q) - want).abs().max().item() for n in counts]
    order = np.polyfit(np.log(counts), np.log(errors), 1)[0] * -2  # the width is count^(-1/2)
    assert order == pytest.approx(2, abs=0.3)
    assert errors[-1] < 5e-3


def test_the_distance_from_an_ellipsoid_is_that_of_the_nearest_of_many_points():
    """Along the normal of a point of the surface that point stays the nearest, at first."""
    radii = np.array([1.0, 0.7, 0.5])
    on = asked(200, 3).numpy()
    on = on / np.linalg.norm(on / radii, axis=1, keepdims=True)
    normal = on / radii**2
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    away = np.random.default_rng(2).uniform(-0.1, 0.8, (200, 1))
    got = signed_distance(sphere(6000, radii), torch.as_tensor(on + away * normal))
    assert got.numpy() == pytest.approx(away[:, 0], abs=2e-3)


def test_the_nearest_point_is_that_of_a_search_over_all_faces():
    """Faces of very different sizes, some without area."""
    source = np.random.default_rng(5)
    size = 10.0 ** source.uniform(-4, 0.5, (300, 1, 1))
    corners = source.normal(size=(300, 1, 3)) + size * source.normal(size=(300, 3, 3))
    corners[::50, 2] = corners[::50, 1]
    points, faces = corners.reshape(-1, 3), np.arange(900).reshape(-1, 3)
    q = asked(500, 3, 3.0).numpy()
    away, there = nearest(points, faces, q)
    every = [
        np.linalg.norm(q - ours._closest(q, np.repeat(x[None], 500, 0)), axis=1) for x in corners
    ]
    assert away == pytest.approx(np.min(every, 0), abs=1e-14)
    assert np.linalg.norm(q - there, axis=1) == pytest.approx(away, abs=1e-14)


def test_the_point_of_a_triangle_nearest_to_another_is_that_of_a_fine_sample():
    source = np.random.default_rng(6)
    corners, p = source.normal(size=(50, 3, 3)), source.normal(size=(50, 3)) * 2
    s, t = np.meshgrid(*[np.linspace(0, 1, 301)] * 2)
    weights = np.stack([1 - s, s * (1 - t), s * t], -1).reshape(-1, 3)
    fine = np.linalg.norm(weights @ corners - p[:, None], axis=2).min(1)
    got = np.linalg.norm(ours._closest(p, corners) - p, axis=1)
    assert (got <= fine + 1e-14).all()
    assert got == pytest.approx(fine, abs=1e-2)


def test_chunks_change_nothing(monkeypatch):
    q, ball = asked(200, 3), sphere(300)
    whole = signed_distance(ball, q)
    monkeypatch.setattr(ours, "PAIRS", 500)
    assert torch.equal(signed_distance(ball, q), whole)


# --- signs --------------------------------------------------------------------------------------


def test_points_that_ask_together_get_the_sign_that_each_would_get():
    """A star with thin arms, and a grid that its boundary crosses in many places."""
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    points = (1 + 0.8 * np.cos(9 * angle))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    star = of(points, np.stack([np.arange(400), np.roll(np.arange(400), -1)], 1))
    axis = torch.linspace(-1.9, 1.9, 60, dtype=torch.float64)
    q = torch.cartesian_prod(axis, axis)
    each = np.abs(winding(*surface(star), q.numpy())) > 0.5
    assert ((signed_distance(star, q).numpy() < 0) == each).all()
    radius, turn = torch.linalg.norm(q, dim=1), torch.atan2(q[:, 1], q[:, 0])
    clear = (radius - 1 - 0.8 * torch.cos(9 * turn)).abs() > 0.02
    assert ((radius < 1 + 0.8 * torch.cos(9 * turn)).numpy() == each)[clear].all()


def test_the_winding_number_is_one_inside_and_zero_outside():
    points, faces = surface(sphere(200))
    got = winding(points, faces, np.array([[0, 0, 0], [0.5, 0.5, 0.1], [2, 0, 0], [0, 1.1, 1]]))
    assert got == pytest.approx([1, 1, 0, 0], abs=1e-12)


def test_a_cavity_is_outside():
    outer, inner = sphere(300), sphere(300)
    points = torch.cat([outer.points, 0.5 * inner.points])
    shell = Geometry(points, cells=torch.cat([outer.cells, 300 + inner.cells.flip(1)]))
    got = signed_distance(shell, torch.tensor([[0.0, 0, 0], [0.75, 0, 0], [2, 0, 0]]))
    assert got.numpy() == pytest.approx([0.5, -0.25, 1], abs=0.02)


def test_a_surface_turned_inside_out_has_the_same_inside():
    ball, q = sphere(200), asked(300, 3)
    out = Geometry(ball.points, cells=ball.cells.flip(1))
    got, want = signed_distance(out, q), signed_distance(ball, q)
    assert got.numpy() == pytest.approx(want.numpy(), abs=1e-14)


def test_points_repeated_for_each_face_are_one_surface():
    ball, q = sphere(200), asked(300, 3)
    corners = ball.points[ball.cells].reshape(-1, 3)
    soup = Geometry(corners, cells=torch.arange(len(corners)).reshape(-1, 3))
    assert signed_distance(soup, q).numpy() == pytest.approx(signed_distance(ball, q).numpy())


@pytest.mark.parametrize("mesh", [skfem.MeshTri().refined(2), skfem.MeshTet().refined(1)])
@pytest.mark.parametrize("flip", [False, True])
def test_a_body_has_the_distance_of_its_surface(mesh, flip):
    cells = mesh.t.T[:, ::-1] if flip else mesh.t.T
    q = asked(500, mesh.p.shape[0])
    want = box_distance(q.numpy(), 0.5, 0.5)
    assert signed_distance(of(mesh.p.T, cells), q).numpy() == pytest.approx(want, abs=1e-14)


def test_without_sign_an_open_surface_has_a_distance():
    sheet = of([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    q = torch.tensor([[0.2, 0.2, -3.0], [-1, 0, 0], [1, 1, 0]])
    assert distance(sheet, q).numpy() == pytest.approx([3, 1, 0.5**0.5])


def test_a_small_hole_leaves_the_inside_inside_if_holes_are_allowed():
    ball = sphere(600)
    torn = Geometry(ball.points, cells=ball.cells[1:])
    q = asked(300, 3)
    clear = signed_distance(ball, q).abs() > 0.1
    got = signed_distance(torn, q, holes=True)
    assert torch.equal((got < 0)[clear], (signed_distance(ball, q) < 0)[clear])


# --- mistakes -----------------------------------------------------------------------------------


def refused(geometry):
    with pytest.raises(OpError) as caught:
        signed_distance(geometry, torch.zeros(1, geometry.points.shape[1]))
    (one,) = caught.value.diagnostics
    assert one.code == "OP0618"
    return one.message


def test_a_surface_with_a_hole_is_refused_with_its_edges_counted():
    ball = sphere(100)
    assert "3 edges" in refused(Geometry(ball.points, cells=ball.cells[1:]))


def test_faces_that_turn_differently_are_refused():
    ball = sphere(100)
    cells = ball.cells.clone()
    cells[7] = cells[7].flip(0)
    assert "do not turn alike: at 3 edges" in refused(Geometry(ball.points, cells=cells))


def test_an_open_curve_is_refused():
    assert "2 points" in refused(of([[0, 0], [1, 0], [1, 1]], [[0, 1], [1, 2]]))


def test_points_without_cells_are_no_surface():
    assert "no cells" in refused(of([[0, 0, 0]]))


def test_segments_in_space_bound_nothing():
    assert "2 corners" in refused(of([[0, 0, 0], [1, 0, 0]], [[0, 1]]))


def test_no_queries_have_no_distances():
    assert signed_distance(sphere(50), torch.zeros(0, 3)).shape == (0,)


# --- the cars that neuraloperator publishes -----------------------------------------------------

PUBLISHED = Path(__file__).parents[5] / "shared/data/neuraloperator"
CARS = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published cars are not here")


@CARS
@pytest.mark.slow
def test_the_published_distances_of_a_car_are_ours_in_other_units():
    """The file has no triangles, but their centres, areas and normals: there is one choice."""
    car = torch.load(PUBLISHED / "mini_car.pt", weights_only=True)[0]
    moved = torch.load(PUBLISHED / "ot_expand3.0_reg1e-06_train2_test1.pt", weights_only=True)[0]
    points = moved["target"].double().numpy()  # in metres; those of the first file are in a cube
    scaled = car["vertices"].double().numpy()
    scale = [np.polyfit(scaled[:, i], points[:, i], 1) for i in range(3)]
    queries = car["query_points"].double().reshape(-1, 3).numpy()
    queries = np.stack([np.polyval(scale[i], queries[:, i]) for i in range(3)], 1)
    got = signed_distance(of(points, triangles(car, scaled, points)), torch.as_tensor(queries))
    want = car["distance"].double().flatten().numpy()
    slope, offset = np.polyfit(got.numpy(), want, 1)  # of all cars to 0 and 1
    assert slope > 0
    assert slope * got.numpy() + offset == pytest.approx(want, abs=5e-7)
    assert (got < 0).sum() == 2003


def triangles(car, scaled, points):
    """For each centre the three near points around it, of its area, turning with its normal."""
    near = cKDTree(scaled).query(car["centroids"].double().numpy(), k=24)[1]
    choice = np.array(list(itertools.combinations(range(24), 3)))
    centres = car["centroids"].double().numpy()
    return [
        best(near[i][choice], scaled, centres[i], points, car["triangle_normals"][i].numpy(), area)
        for i, area in enumerate(car["triangle_areas"].tolist())
    ]


def best(choice, scaled, centre, points, normal, area):
    off = np.abs(scaled[choice].mean(1) - centre).max(1)
    choice = choice[off < max(3e-7, off.min() * 1.01)]
    a, b, c = points[choice].transpose(1, 0, 2)
    turned = np.cross(b - a, c - a) / 2
    along = turned @ normal
    found = np.abs(np.abs(along) - area).argmin()
    return choice[found] if along[found] > 0 else choice[found][::-1]
