"""Mesh files as samples: every format that people have, and every mistake in one line."""

import meshio
import numpy as np
import pytest

from opdsl.data.derive.simplices import sizes
from opdsl.data.io.meshes import (
    MESH_READERS,
    around,
    mesh_files,
    read_mesh,
    read_meshes,
)
from opdsl.diagnostics import OpError

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
ROOF = SQUARE + np.array([[0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]])
HALVES = [("triangle", np.array([[0, 1, 2], [0, 2, 3]]))]
CUBE = np.array([[x, y, z] for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], float)


def written(path, points=ROOF, cells=HALVES, **more):
    if path.suffix == ".vtp":
        return written_vtp(path, points, cells[0][1], **more)
    form = "gmsh" if path.suffix == ".msh" else None  # others write another .msh
    meshio.Mesh(points, cells, **more).write(path, form)
    return path


def written_vtp(path, points, triangles, point_data=None):
    """A surface as the file format of VTK describes it; meshio has no writer of it."""
    pytest.importorskip("vtkmodules", reason="the reader of such files")

    def array(name, x, kind):
        text = " ".join(map(str, np.ravel(x).tolist()))
        size = np.shape(x)[1] if np.ndim(x) > 1 else 1
        head = f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{size}" format="ascii">'
        return f"{head}{text}</DataArray>"

    fields = "".join(array(k, x, "Float64") for k, x in (point_data or {}).items())
    offsets = 3 * (1 + np.arange(len(triangles)))
    polys = array("connectivity", np.ravel(triangles), "Int64") + array("offsets", offsets, "Int64")
    path.write_text(
        '<?xml version="1.0"?><VTKFile type="PolyData" version="1.0" byte_order="LittleEndian">'
        f'<PolyData><Piece NumberOfPoints="{len(points)}" NumberOfPolys="{len(triangles)}">'
        f"<PointData>{fields}</PointData><Points>{array('p', points, 'Float64')}</Points>"
        f"<Polys>{polys}</Polys></Piece></PolyData></VTKFile>"
    )
    return path


def read_or_refused(path):
    """A mesh, or one diagnostic; whatever else is raised fails the test."""
    try:
        read_mesh(path)
    except OpError as error:
        found = error.diagnostics
    else:
        return
    assert len(found) == 1


def refused(path, code="OP0610"):
    with pytest.raises(OpError) as caught:
        read_mesh(path)
    (one,) = caught.value.diagnostics
    assert one.code == code
    assert one.file == str(path)
    return one.message


@pytest.mark.parametrize("ending", MESH_READERS)
def test_every_format_gives_the_same_triangles(tmp_path, ending, capfd):
    path = written(tmp_path / f"a{ending}")
    capfd.readouterr()
    mesh = read_mesh(path)
    corners = mesh.points[mesh.cells]
    assert corners.tolist() == ROOF[HALVES[0][1]].tolist()
    assert sizes(mesh.points, mesh.cells) == pytest.approx([2**0.5 / 2] * 2)
    assert capfd.readouterr() == ("", "")  # the library below is quiet


@pytest.mark.parametrize("ending", [".vtu", ".vtp", ".vtk", ".ply", ".msh"])
def test_fields_on_points_come_with_them(tmp_path, ending):
    p = np.array([1.0, 2.0, 3.5, -1.0])
    mesh = read_mesh(written(tmp_path / f"a{ending}", point_data={"p": p}))
    assert mesh.fields["p"].tolist() == p[:, None].tolist()
    assert mesh.averaged == ()


@pytest.mark.parametrize("binary", [True, False])
def test_text_and_binary_files_hold_the_same(tmp_path, binary):
    data = {"v": np.arange(12.0).reshape(4, 3)}
    meshio.vtu.write(tmp_path / "a.vtu", meshio.Mesh(ROOF, HALVES, point_data=data), binary=binary)
    mesh = read_mesh(tmp_path / "a.vtu")
    assert np.array_equal(mesh.fields["v"], data["v"])


def test_a_mesh_in_the_plane_has_two_coordinates(tmp_path):
    mesh = read_mesh(written(tmp_path / "a.vtu", SQUARE))
    assert mesh.points.tolist() == SQUARE[:, :2].tolist()


def test_cells_of_the_highest_dimension_count(tmp_path):
    cells = [("line", [[0, 1]]), ("hexahedron", [list(range(8))]), ("quad", [[0, 1, 2, 3]])]
    mesh = read_mesh(written(tmp_path / "a.vtu", CUBE, cells))
    assert mesh.cells.shape == (6, 4)
    assert sizes(mesh.points, mesh.cells).sum() == pytest.approx(1)


def test_a_file_without_cells_is_a_cloud_of_points(tmp_path):
    cells = [("vertex", [[0], [1], [2], [3]])]
    mesh = read_mesh(written(tmp_path / "a.vtu", ROOF, cells, point_data={"p": np.ones(4)}))
    assert mesh.cells is None
    assert mesh.points.tolist() == ROOF.tolist()


def test_points_that_no_cell_uses_are_left_out_with_their_values(tmp_path):
    points = np.insert(ROOF, 1, 9.0, axis=0)
    cells = [("quad", [[0, 2, 3, 4]])]
    data = {"p": np.array([1.0, 99, 2, 3, 4])}
    mesh = read_mesh(written(tmp_path / "a.vtu", points, cells, point_data=data))
    assert mesh.left_out == 1
    assert mesh.points.tolist() == ROOF.tolist()
    assert mesh.fields["p"][:, 0].tolist() == [1, 2, 3, 4]
    assert sizes(mesh.points, mesh.cells).sum() == pytest.approx(2**0.5)


def test_a_field_on_cells_becomes_the_mean_around_each_point(tmp_path):
    cells = [("triangle", [[0, 1, 2]]), ("quad", [[0, 2, 3, 4]])]
    points = np.concatenate([SQUARE, [[-1, 0.5, 0]]])
    data = {"q": [np.array([5.0]), np.array([2.0])], "label": [np.array([7]), np.array([8])]}
    mesh = read_mesh(written(tmp_path / "a.vtu", points, cells, cell_data=data))
    assert mesh.averaged == ("q",)
    assert mesh.labels == ("label",)
    assert list(mesh.fields) == ["q"]
    q = mesh.fields["q"][:, 0]
    # the quadrilateral is cut from its lowest corner, 0: both its parts touch 0 and 3
    assert q[[1, 3, 4]].tolist() == [5, 2, 2]
    assert q[0] == pytest.approx((0.5 * 5 + 1.0 * 2) / 1.5)
    assert q[2] == pytest.approx((0.5 * 5 + 0.5 * 2) / 1.0)


def test_a_linear_function_of_the_cells_keeps_its_value_at_inner_points_of_a_regular_mesh():
    import skfem

    grid = skfem.MeshTri().refined(3)
    points, cells = grid.p.T, grid.t.T
    f = points[cells].mean(1) @ [[2.0], [-3.0]] + 1
    inner = np.setdiff1d(np.arange(len(points)), grid.boundary_nodes())
    assert around(points, cells, f)[inner] == pytest.approx(
        points[inner] @ [[2.0], [-3.0]] + 1, abs=1e-12
    )


def test_a_field_on_points_wins_over_one_of_the_same_name_on_cells(tmp_path):
    data = {"point_data": {"p": np.arange(4.0)}, "cell_data": {"p": [np.array([8.0, 9.0])]}}
    mesh = read_mesh(written(tmp_path / "a.vtu", **data))
    assert mesh.fields["p"][:, 0].tolist() == [0, 1, 2, 3]
    assert mesh.averaged == ()


# --- several files ------------------------------------------------------------------------------


def test_files_of_a_folder_are_samples_in_the_order_of_their_numbers(tmp_path):
    for i in (10, 2, 1):
        written(tmp_path / f"car{i}.vtu", ROOF * i)
    (tmp_path / "notes.txt").write_text("no mesh")
    done = []
    meshes = read_meshes([tmp_path], progress=lambda i, n: done.append((i, n)))
    assert [x.points.max() for x in meshes] == [1, 2, 10]
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_a_pattern_names_files(tmp_path):
    for name in ("a1.vtu", "a2.vtu", "b1.vtu"):
        written(tmp_path / name)
    assert [x.name for x in mesh_files([tmp_path / "a*.vtu"])] == ["a1.vtu", "a2.vtu"]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"point_data": {"q": np.ones(4)}}, "the fields"),
        ({"point_data": {"p": np.ones((4, 3))}}, "the fields"),
        ({"point_data": {"p": np.ones(4)}, "points": SQUARE}, "the dimension"),
        ({"point_data": {"p": np.ones(4)}, "cells": [("line", [[0, 1], [1, 2], [2, 3]])]}, "kind"),
    ],
)
def test_files_that_differ_in_kind_are_refused(tmp_path, other, told):
    written(tmp_path / "a.vtu", point_data={"p": np.ones(4)})
    written(tmp_path / "b.vtu", **other)
    with pytest.raises(OpError) as caught:
        read_meshes([tmp_path])
    (one,) = caught.value.diagnostics
    assert (one.code, one.file) == ("OP0610", str(tmp_path / "b.vtu"))
    assert told in one.message


# --- mistakes -----------------------------------------------------------------------------------


def test_a_path_without_a_file_names_the_nearest(tmp_path):
    written(tmp_path / "car.vtu")
    with pytest.raises(OpError) as caught:
        mesh_files([tmp_path / "cat.vtu"])
    (one,) = caught.value.diagnostics
    assert one.code == "OP0610"
    assert "car.vtu" in one.helps[0].text


def test_a_folder_without_meshes_says_what_would_be_read(tmp_path):
    with pytest.raises(OpError) as caught:
        mesh_files([tmp_path])
    assert ".vtu, .vtk" in caught.value.diagnostics[0].message


def test_another_ending_is_refused(tmp_path):
    (tmp_path / "a.xdmf").write_text("<Xdmf/>")
    assert "`.xdmf`" in refused(tmp_path / "a.xdmf")


@pytest.mark.parametrize("ending", MESH_READERS)
@pytest.mark.parametrize("content", [b"", b"nonsense", bytes(range(256)) * 3])
def test_a_file_of_anything_else_is_one_diagnostic(tmp_path, ending, content):
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("ending", MESH_READERS)
def test_half_a_file_is_one_diagnostic_or_a_smaller_mesh(tmp_path, ending):
    path = written(tmp_path / f"a{ending}", np.tile(ROOF, (9, 1)))
    whole = path.read_bytes()
    for part in range(8, len(whole), max(len(whole) // 60, 1)):
        path.write_bytes(whole[:part])
        read_or_refused(path)


@pytest.mark.parametrize("ending", MESH_READERS)
def test_damaged_bytes_are_one_diagnostic_or_another_mesh(tmp_path, ending):
    path = written(
        tmp_path / f"a{ending}", point_data={"p": np.ones(4)} if ending == ".vtu" else {}
    )
    whole = path.read_bytes()
    source = np.random.default_rng(11)
    for _ in range(60):
        broken = bytearray(whole)
        for place in source.integers(0, len(whole), 3):
            broken[place] = source.integers(256)
        path.write_bytes(bytes(broken))
        read_or_refused(path)


def test_unknown_cells_are_named(tmp_path):
    cells = [("hexahedron20", [list(range(20))])]
    points = np.random.default_rng(0).random((20, 3))
    assert "`hexahedron20`" in refused(written(tmp_path / "a.vtu", points, cells))


def test_a_corner_that_is_no_point_is_refused(tmp_path):
    path = written(tmp_path / "a.vtu", cells=[("triangle", [[0, 1, 9]])])
    assert "the corner 9, there are 4 points" in refused(path)


def test_points_that_are_not_finite_are_refused(tmp_path):
    points = ROOF.copy()
    points[2, 1] = np.nan
    assert "first at point 2" in refused(written(tmp_path / "a.vtu", points), "OP0612")


def test_a_file_that_would_not_fit_into_memory_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("opdsl.data.io.meshes.data_budget", lambda: 1000)
    assert "there is room for" in refused(written(tmp_path / "a.vtu"))


def test_a_file_that_declares_more_points_than_it_holds_is_refused(tmp_path):
    text = (
        "# vtk DataFile Version 4.2\nx\nASCII\nDATASET UNSTRUCTURED_GRID\nPOINTS {} float\n0 0 0\n"
    )
    path = tmp_path / "a.vtk"
    path.write_text(text.format(10**15))
    refused(path)
