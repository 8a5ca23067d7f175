"""Meshes and structured grids as arrays: against meshio and pyvista, and hostile ones."""

import meshio
import numpy as np
import pytest

from opdsl.data.arrays.reading import open_arrays
from opdsl.data.io.meshes import read_mesh
from opdsl.diagnostics import OpError
from tests.array_files import read_all, refused

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]])
HALVES = [("triangle", np.array([[0, 1, 2], [0, 2, 3]]))]
RANDOM = np.random.default_rng(0)
NX, NY, NZ = 4, 3, 5


@pytest.fixture(scope="module")
def pv():
    return pytest.importorskip("pyvista", reason="the writer of VTK files")


@pytest.mark.parametrize("ending", ["vtu", "vtk", "stl", "obj", "ply", "msh"])
def test_a_mesh_is_listed_and_read(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    fields = {} if ending in {"stl", "obj"} else {"p": np.arange(4.0)}
    form = "gmsh" if ending == "msh" else None
    meshio.Mesh(SQUARE, HALVES, point_data=fields).write(path, form)
    with open_arrays(path, "a") as file:
        assert file.arrays["points"].axes == ("point", "coordinate")
        assert file.arrays["cells/triangle"].axes == ("cell", "node")
        points, cells = file.read("points"), file.read("cells/triangle")
        np.testing.assert_array_equal(points[cells], SQUARE[HALVES[0][1]])
        np.testing.assert_array_equal(file.read("points", (slice(1, 3),)), points[1:3])
        if fields:
            assert file.arrays["point_data/p"].axes == ("point",)
            assert file.read("point_data/p").tolist() == [0, 1, 2, 3]


def test_values_on_cells_of_several_kinds_are_apart(tmp_path):
    cells = [("triangle", [[0, 1, 2]]), ("line", [[0, 1], [1, 2]]), ("triangle", [[0, 2, 3]])]
    data = {"q": [np.array([1.0]), np.array([2.0, 3.0]), np.array([4.0])]}
    meshio.Mesh(SQUARE, cells, cell_data=data).write(tmp_path / "a.vtu")
    with open_arrays(tmp_path / "a.vtu", "a.vtu") as file:
        assert file.arrays["cells/line"].axes == ("line", "node")
        assert file.read("cells/triangle").tolist() == [[0, 1, 2], [0, 2, 3]]
        assert file.read("cell_data/q/triangle").tolist() == [1, 4]
        assert file.read("cell_data/q/line").tolist() == [2, 3]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", ["a.vtp", "a.vtk"])
def test_surfaces_of_vtk_are_read_as_arrays_and_as_meshes(tmp_path, pv, name, binary):
    surface = pv.PolyData(SQUARE, np.array([3, 0, 1, 2, 3, 0, 2, 3]))
    surface.point_data["p"] = np.arange(4.0)
    surface.cell_data["q"] = [5.0, 7.0]
    surface.save(tmp_path / name, binary=binary)
    values = read_all(tmp_path / name)
    np.testing.assert_array_equal(values["points"], SQUARE)
    assert values["cells/triangle"].tolist() == [[0, 1, 2], [0, 2, 3]]
    assert values["point_data/p"].tolist() == [0, 1, 2, 3]
    assert values["cell_data/q"].tolist() == [5, 7]
    mesh = read_mesh(tmp_path / name)
    assert mesh.cells.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.fields["p"][:, 0].tolist() == [0, 1, 2, 3]
    assert mesh.averaged == ("q",)


def test_polygons_lines_and_strips_keep_their_values(tmp_path, pv):
    points = np.array([[x, y, 0.0] for x in range(4) for y in range(2)])
    data = pv.PolyData(
        points, faces=[4, 0, 1, 3, 2, 3, 2, 3, 5], lines=[3, 0, 2, 4], strips=[4, 4, 5, 6, 7]
    )
    data.cell_data["q"] = np.array([1.0, 2.0, 3.0, 4.0])  # line, faces, strip
    data.save(tmp_path / "a.vtp")
    values = read_all(tmp_path / "a.vtp")
    assert values["cells/line"].tolist() == [[0, 2], [2, 4]]
    assert values["cell_data/q/line"].tolist() == [1, 1]
    assert values["cell_data/q/quad"].tolist() == [2]
    assert values["cells/triangle"].tolist() == [[2, 3, 5], [4, 5, 6], [6, 5, 7]]
    assert values["cell_data/q/triangle"].tolist() == [3, 4, 4]
    whole = data.triangulate().area
    mesh = read_mesh(tmp_path / "a.vtp")
    first = mesh.points[mesh.cells]
    sides = first[:, 1:] - first[:, :1]
    assert np.abs(np.linalg.det(sides)).sum() / 2 == pytest.approx(whole)


def grids(pv, shape):
    """One grid of each kind on the same places."""
    x, y, z = (0.5 * np.arange(shape[0]), 1 + np.arange(shape[1]), 2.0 * np.arange(shape[2]))
    image = pv.ImageData(dimensions=shape, spacing=(0.5, 1, 2), origin=(0, 1, 0))
    straight = pv.RectilinearGrid(x**2, y, z)
    curved = pv.StructuredGrid(*np.meshgrid(x, y, z, indexing="ij"))
    return {"image": image, "straight": straight, "curved": curved}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("kind", ["image", "straight", "curved"])
@pytest.mark.parametrize("shape", [(NX, NY, NZ), (NX, NY, 1)])
def test_grids_stay_grids(tmp_path, pv, kind, shape, legacy, binary):
    grid = grids(pv, shape)[kind]
    u = RANDOM.standard_normal((*shape, 2))
    q = RANDOM.standard_normal([max(n - 1, 1) for n in shape])
    grid.point_data["u"] = np.reshape(u, (-1, 2), order="F")
    grid.cell_data["q"] = q.ravel(order="F")
    ending = {"image": "vti", "straight": "vtr", "curved": "vts"}[kind]
    path = tmp_path / ("a.vtk" if legacy else f"a.{ending}")
    grid.save(path, binary=binary)
    axes = ("x", "y", "z")[: 3 if shape[2] > 1 else 2]
    with open_arrays(path, "a") as file:
        info = file.arrays["point_data/u"]
        assert info.axes == (*axes, "channel")
        rtol = 1e-5 if not binary else 0  # text is rounded
        np.testing.assert_allclose(
            file.read("point_data/u"), u.squeeze(2) if shape[2] == 1 else u, rtol=rtol
        )
        np.testing.assert_allclose(file.read("cell_data/q"), q.squeeze(), rtol=rtol)
        assert file.arrays["cell_data/q"].axes == tuple(f"cell_{k}" for k in axes)
        x = 0.5 * np.arange(NX) if kind != "straight" else (0.5 * np.arange(NX)) ** 2
        np.testing.assert_allclose(file.read("x"), x)
        np.testing.assert_allclose(file.read("cell_x"), (x[1:] + x[:-1]) / 2)
        assert ("z" in file.arrays) == (shape[2] > 1)


def test_a_curved_grid_has_indices_and_points(tmp_path, pv):
    r, phi = np.meshgrid([1.0, 2, 3], np.linspace(0, 1, 4), indexing="ij")
    grid = pv.StructuredGrid(r * np.cos(phi), r * np.sin(phi), 0 * r)
    grid.point_data["u"] = r.ravel(order="F")
    grid.save(tmp_path / "a.vtk")
    with open_arrays(tmp_path / "a.vtk", "a.vtk") as file:
        assert set(file.arrays) == {"points", "point_data/u"}
        assert file.arrays["points"].axes == ("i", "j", "coordinate")
        np.testing.assert_allclose(file.read("points")[..., 0], r * np.cos(phi), rtol=1e-6)
        np.testing.assert_allclose(file.read("point_data/u"), r)


@pytest.mark.parametrize("kind", ["image", "straight", "curved"])
def test_a_structured_grid_is_no_mesh(tmp_path, pv, kind):
    path = tmp_path / "a.vtk"
    grids(pv, (NX, NY, NZ))[kind].save(path)
    with pytest.raises(OpError, match="holds a grid") as caught:
        read_mesh(path)
    assert caught.value.diagnostics[0].code == "OP0610"


def test_points_that_a_grid_only_declares_cost_nothing(tmp_path):
    path = tmp_path / "a.vtk"
    head = "# vtk DataFile Version 3.0\nx\nASCII\nDATASET STRUCTURED_POINTS\n"
    path.write_text(head + "DIMENSIONS 2000 2000 100\nORIGIN 0 0 0\nSPACING 1 1 1\n")
    with open_arrays(path, "a.vtk") as file:
        assert {k: x.shape for k, x in file.arrays.items()} == {
            "x": (2000,),
            "y": (2000,),
            "z": (100,),
        }


def test_values_that_a_grid_only_declares_are_refused(tmp_path):
    path = tmp_path / "a.vtk"
    head = "# vtk DataFile Version 3.0\nx\nASCII\nDATASET STRUCTURED_POINTS\n"
    head += "DIMENSIONS 2000 2000 1000\nORIGIN 0 0 0\nSPACING 1 1 1\nPOINT_DATA 4000000000\n"
    path.write_text(head + "SCALARS u double 1\nLOOKUP_TABLE default\n1 2 3\n")
    refused(path)


@pytest.mark.parametrize("name", ["a.vtp", "a.vtk", "b.vtk", "b.vti"])
def test_files_that_are_cut_among_their_values_are_refused(tmp_path, pv, name):
    path = tmp_path / name
    data = pv.PolyData(SQUARE) if name[0] == "a" else pv.ImageData(dimensions=(NX, NY, NZ))
    data.point_data["p"] = np.arange(data.n_points, dtype=float)
    data.save(path, binary=True)
    whole = path.read_bytes()
    end = whole.rindex(b"\x40") if name.endswith("vtk") else whole.rindex(b"</")
    for count in range(end, end - 20, -7):
        path.write_bytes(whole[:count])
        assert "damaged" in refused(path)


def test_a_missing_library_names_the_extra(tmp_path, pv, monkeypatch):
    pv.PolyData(SQUARE, np.array([3, 0, 1, 2])).save(tmp_path / "a.vtp")
    monkeypatch.setattr("opdsl.data.io.foreign.vtk_files.find_spec", lambda _: None)
    assert "pip install 'opdsl[vtk]'" in refused(tmp_path / "a.vtp")
