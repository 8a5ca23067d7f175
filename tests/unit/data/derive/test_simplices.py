"""Cells cut into simplices: nothing is lost, nothing overlaps, neighbours agree."""

import itertools

import numpy as np
import pytest
import skfem

from opdsl.data.derive.simplices import CURVED, FACES, POINTS, sizes, split

# corners of one cell of each kind, in VTK's order, and its size
SHAPES = {
    "line": ([[0], [3]], 3),
    "line3": ([[0], [3], [1]], 3),
    "triangle": ([[0, 0], [2, 0], [0, 1]], 1),
    "quad": ([[0, 0], [2, 0], [2, 1], [0, 1]], 2),
    "tetra": ([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 6]], 1),
    "pyramid": ([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.3, 0.6, 3]], 1),
    "wedge": ([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 4], [1, 0, 4], [0, 1, 4]], 2),
    "hexahedron": (
        [[0, 0, 0], [2, 0, 0], [2, 3, 0], [0, 3, 0], [0, 0, 5], [2, 0, 5], [2, 3, 5], [0, 3, 5]],
        30,
    ),
}


def shape(kind):
    """Coordinates and size; curved kinds are straight ones with middles."""
    if kind in SHAPES:
        points, size = SHAPES[kind]
        return np.array(points, float), size
    ends, size = shape({"triangle6": "triangle", "quad9": "quad", "tetra10": "tetra"}[kind])
    sides = {
        "triangle6": [(0, 1), (1, 2), (2, 0)],
        "quad9": [(0, 1), (1, 2), (2, 3), (3, 0), (0, 1, 2, 3)],
        "tetra10": [(0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)],
    }[kind]
    return np.concatenate([ends, [ends[list(x)].mean(0) for x in sides]]), size


@pytest.mark.parametrize("kind", sorted(set(POINTS) - {"vertex"}))
@pytest.mark.parametrize("seed", range(5))
def test_the_parts_have_the_size_of_the_whole_however_points_are_numbered(kind, seed):
    points, size = shape(kind)
    order = np.random.default_rng(seed).permutation(len(points))
    shuffled = np.empty_like(points)
    shuffled[order] = points
    pieces, rows = split(kind, order[None])
    assert sizes(shuffled, pieces).sum() == pytest.approx(size, rel=1e-12)
    assert (sizes(shuffled, pieces) > 1e-9).all()
    assert not rows.any()


def test_every_kind_that_is_cut_has_a_test_of_its_size():
    assert set(POINTS) - {"vertex"} == set(SHAPES) | (set(CURVED) - {"line3"})
    assert set(FACES) < set(SHAPES)


def test_a_polygon_is_cut_into_triangles_that_turn_as_it_does():
    angle = np.arange(7) / 7 * 2 * np.pi
    points = np.stack([np.cos(angle), np.sin(angle)], 1)
    pieces, rows = split("polygon7", np.array([[3, 4, 5, 6, 0, 1, 2]]))
    assert pieces.shape == (5, 3)
    assert rows.tolist() == [0] * 5
    a, b, c = points[pieces].transpose(1, 0, 2)
    turn = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (turn > 0).all()
    assert turn.sum() / 2 == pytest.approx(3.5 * np.sin(2 * np.pi / 7))


def test_rows_say_which_cell_a_part_came_from():
    mesh = skfem.MeshHex().refined(1)
    pieces, rows = split("hexahedron", vtk(mesh.t))
    volume = np.bincount(rows, sizes(mesh.p.T, pieces))
    assert volume == pytest.approx(1 / 8)


def test_neighbouring_hexahedra_share_triangles():
    """Each inner face of the parts belongs to two of them: there is no gap and no overlap."""
    mesh = skfem.MeshHex().refined(2)
    number = np.random.default_rng(3).permutation(mesh.p.shape[1])
    pieces, _ = split("hexahedron", number[vtk(mesh.t)])
    faces = [tuple(sorted(f)) for x in pieces for f in itertools.combinations(x.tolist(), 3)]
    _, met = np.unique(faces, axis=0, return_counts=True)
    assert met.max() == 2
    assert (met == 1).sum() == 6 * 16 * 2  # triangles of the surface of 4 x 4 x 4 cubes


def vtk(corners):
    """Hexahedra of scikit-fem in the order of VTK."""
    return corners[[0, 1, 4, 2, 3, 5, 7, 6]].T


def test_the_size_of_a_triangle_in_space_is_its_area():
    points = np.array([[0, 0, 0], [1.0, 2, 3], [-2, 1, 1]])
    area = np.linalg.norm(np.cross(points[1], points[2])) / 2
    assert sizes(points, np.array([[0, 1, 2]])) == pytest.approx([area])
