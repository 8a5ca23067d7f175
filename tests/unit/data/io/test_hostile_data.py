"""Data from strangers: small files that declare, or hide, more than they hold."""

import io
import re
import subprocess
import sys
import zipfile

import h5py
import meshio
import numpy as np
import pytest
import torch

from opdsl.data.io.dataset import open_dataset
from opdsl.data.io.foreign import process as foreign
from opdsl.data.io.meshes import read_mesh
from opdsl.diagnostics import OpError

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
HALVES = [("triangle", np.array([[0, 1, 2], [0, 2, 3]]))]


def refused(call, *arguments):
    with pytest.raises(OpError) as caught:
        call(*arguments)
    (one,) = caught.value.diagnostics
    assert one.code == "OP0610"
    return one


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("STRUCTURED_POINTS\nDIMENSIONS 2000 2000 100\nORIGIN 0 0 0\nSPACING 1 1 1\n", "a grid"),
        ("STRUCTURED_GRID\nDIMENSIONS 2000 2000 100\nPOINTS 400000000 double\n0 0 0\n", "a grid"),
        ("UNSTRUCTURED_GRID\nPOINTS 400000000 double\n0 0 0\n", ""),
        ("POLYDATA\nPOINTS 400000000 double\n0 0 0\n", ""),
    ],
)
def test_a_mesh_that_declares_more_than_it_can_hold_is_refused(tmp_path, contents, message):
    path = tmp_path / "n.vtk"
    path.write_text(f"# vtk DataFile Version 3.0\nx\nASCII\nDATASET {contents}")
    assert message in refused(read_mesh, path).message


@pytest.mark.parametrize("binary", [True, False])
def test_a_ply_with_fewer_points_than_declared_is_incomplete(tmp_path, binary):
    path = tmp_path / "a.ply"
    meshio.Mesh(SQUARE, []).write(path, binary=binary)
    data = path.read_bytes()
    head = data.index(b"end_header\n") + len(b"end_header\n")
    kept = data[head:][: 3 * 8] if binary else data[head:].splitlines(keepends=True)[0]
    path.write_bytes(data[:head] + kept)
    assert "incomplete" in refused(read_mesh, path).message


def test_a_binary_stl_with_fewer_triangles_than_declared_is_refused(tmp_path):
    path = tmp_path / "a.stl"
    meshio.Mesh(SQUARE, HALVES).write(path, binary=True)
    path.write_bytes(path.read_bytes()[:-50])
    refused(read_mesh, path)


def test_the_reading_process_has_no_torch_and_is_used_again(tmp_path):
    for name in ("a.vtu", "b.vtu"):
        meshio.Mesh(SQUARE, HALVES).write(tmp_path / name)
    read_mesh(tmp_path / "a.vtu")
    (first,) = foreign._RUNNING
    read_mesh(tmp_path / "b.vtu")
    assert first in foreign._RUNNING
    source = foreign.pkgutil.get_data("opdsl.data.io.foreign", "worker.py")
    assert b"torch" not in source
    assert not re.search(rb"^\s*(import|from) opdsl", source, re.MULTILINE)


@pytest.mark.parametrize("module", ["vtk_reader", "zarr_reader"])
def test_what_answers_in_the_reading_process_has_no_torch(module):
    pytest.importorskip("vtkmodules" if module == "vtk_reader" else "zarr", reason="an extra")
    code = f"import sys, opdsl.data.io.foreign.{module}; sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603  our own text
    assert result.returncode == 0


def test_a_reading_process_that_dies_is_one_diagnostic_and_the_next_file_is_read(tmp_path):
    meshio.Mesh(SQUARE, HALVES).write(tmp_path / "a.vtu")
    read_mesh(tmp_path / "a.vtu")
    foreign._RUNNING[0].process.stdin.write(b"no json\n")  # it ends with an exception
    refused(read_mesh, tmp_path / "a.vtu")
    assert len(read_mesh(tmp_path / "a.vtu").points) == 4


@pytest.mark.parametrize("seconds", [0])
def test_a_mesh_that_takes_too_long_is_refused(tmp_path, monkeypatch, seconds):
    path = tmp_path / "slow.msh"
    many = np.random.default_rng(0).random((60_000, 3))
    cells = [("triangle", np.arange(60_000).reshape(-1, 3))]
    meshio.Mesh(many, cells).write(path, "gmsh", binary=False)
    monkeypatch.setattr(foreign, "SECONDS", seconds - 1)
    monkeypatch.setattr(foreign, "SECONDS_PER_BYTE", 0)
    foreign._close()
    assert "too long" in refused(read_mesh, path).message


def test_one_tensor_shown_a_million_times_is_not_copied_so_often(tmp_path, monkeypatch):
    x = torch.zeros(4, 64, 64)
    monkeypatch.setattr("opdsl.data.io.formats.pt.data_budget", lambda: 10 << 20)
    torch.save([{"x": x, "y": x}] * 1000, tmp_path / "many.pt")
    assert "room" in refused(open_dataset, tmp_path / "many.pt").message


def test_records_of_an_archive_that_overlap_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((4, 8)), y=np.zeros((4, 8)))
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as held:
        size = held.infolist()[0].compress_size
    larger = (size + 100_000).to_bytes(4, "little")
    path.write_bytes(data.replace(size.to_bytes(4, "little"), larger))
    refused(open_dataset, path)


@pytest.mark.timeout(60)
def test_a_damaged_heap_in_which_hdf5_goes_round_for_ever_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["dataset_name"] = "made"
        file.attrs["fields"] = ["one", "two"]
    data = bytearray(path.read_bytes())
    second = data.index(b"GCOL") + 16 + 16 + 8  # behind the header and the first text
    data[second : second + 16] = bytes(16)
    path.write_bytes(data)
    assert "too long" in refused(open_dataset, path).message
