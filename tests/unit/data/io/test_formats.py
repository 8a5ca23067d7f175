"""Files are known by their content; what cannot be read is named with a cure."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from opdsl.data import open_dataset
from opdsl.diagnostics import OpError

PUBLISHED = Path(__file__).parents[5] / "shared/data/neuraloperator"
published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"the published data are not at {PUBLISHED.name}"
)


def refused(path, **kwargs):
    with pytest.raises(OpError) as caught:
        open_dataset(path, **kwargs)
    (one,) = caught.value.diagnostics
    assert one.code == "OP0610"
    assert one.file
    return one


def saved(path, **tensors):
    torch.save(tensors, path)
    return path


def darcy(n=6, points=8):
    rng = torch.Generator().manual_seed(1)
    y = torch.rand(n, points, points, generator=rng)
    return {"x": y > 0.5, "y": y}


def test_a_published_pair_has_one_input_and_one_output(tmp_path):
    pair = darcy()
    held = open_dataset(saved(tmp_path / "d.pt", **pair))
    assert held.roles == {"x": "input", "y": "output"}
    assert held.values["x"].shape == (6, 1, 8, 8)
    assert torch.equal(held.values["y"][:, 0], pair["y"])
    assert (held.name, held.axes, held.resolution) == ("d", ("x", "y"), (8, 8))


def test_the_evolution_of_a_line_has_its_times_as_channels(tmp_path):
    x, y = torch.rand(5, 16).double(), torch.rand(5, 17, 16).double()
    held = open_dataset(saved(tmp_path / "b.pt", x=x, y=y, visc=torch.tensor([[0.01]])))
    assert held.values["x"].shape == (5, 1, 16)
    assert torch.equal(held.values["y"], y)
    assert set(held.values) == {"x", "y"}
    assert held.axes == ("x",)


@pytest.mark.parametrize(
    ("shape", "channels", "grid"),
    [
        ((4, 8, 8), 1, (8, 8)),
        ((4, 3, 8, 8), 3, (8, 8)),
        ((4, 8, 8, 8), 1, (8, 8, 8)),
        ((4, 2, 8, 8, 8), 2, (8, 8, 8)),
        ((4, 12, 16), 1, (12, 16)),
        ((4, 2, 6, 6, 6, 6), 2, (6, 6, 6, 6)),
        ((4, 3, 7, 7), 3, (7, 7)),  # channels are fewer than half of the points on every axis
        ((4, 4, 8, 8), 1, (4, 8, 8)),
        ((4, 3, 6, 16), 1, (3, 6, 16)),
        ((4, 3, 16, 6), 1, (3, 16, 6)),
    ],
)
def test_channels_are_told_from_axes(tmp_path, shape, channels, grid):
    held = open_dataset(saved(tmp_path / "a.pt", x=torch.zeros(shape), y=torch.zeros(shape)))
    assert held.values["x"].shape == (4, channels, *grid)
    assert held.resolution == grid


def test_an_axis_is_channels_only_where_both_fields_have_them(tmp_path):
    """Of (4, 3, 8, 8) and (4, 8, 8, 8) one has three channels, or both are on three axes."""
    path = saved(tmp_path / "a.pt", x=torch.zeros(4, 3, 8, 8), y=torch.zeros(4, 8, 8, 8))
    with pytest.raises(OpError) as caught:
        open_dataset(path)
    assert caught.value.diagnostics[0].code == "OP0610"


def test_numpy_pairs_are_read_like_those_of_torch(tmp_path):
    pair = darcy()
    saved(tmp_path / "d.pt", **pair)
    np.savez_compressed(tmp_path / "d.npz", **{k: v.numpy() for k, v in pair.items()})
    one, two = open_dataset(tmp_path / "d.pt"), open_dataset(tmp_path / "d.npz")
    assert one.fingerprint == two.fingerprint


def test_arrays_in_another_byte_order_are_read(tmp_path):
    x = np.arange(32, dtype=">f4").reshape(2, 4, 4)
    np.savez(tmp_path / "d.npz", x=x, y=x)
    assert torch.equal(open_dataset(tmp_path / "d.npz").values["x"].flatten(), torch.arange(32.0))


def test_the_suffix_does_not_matter(tmp_path):
    saved(tmp_path / "d.pt", **darcy()).rename(tmp_path / "d.dat")
    assert open_dataset(tmp_path / "d.dat").resolution == (8, 8)


def test_old_files_of_torch_are_read(tmp_path):
    torch.save(darcy(), tmp_path / "d.pt", _use_new_zipfile_serialization=False)
    assert open_dataset(tmp_path / "d.pt").resolution == (8, 8)


def test_a_coarser_grid_and_fewer_samples(tmp_path):
    pair = darcy()
    held = open_dataset(saved(tmp_path / "d.pt", **pair), resolution=4, samples=2)
    assert torch.equal(held.values["y"][:, 0], pair["y"][:2, ::2, ::2])


def test_more_samples_than_there_are_is_refused(tmp_path):
    assert "hold 6 samples" in refused(saved(tmp_path / "d.pt", **darcy()), samples=7).message


@pytest.mark.parametrize("samples", [0, -1])
def test_less_than_one_sample_is_refused(tmp_path, samples):
    with pytest.raises(OpError) as caught:
        open_dataset(saved(tmp_path / "d.pt", **darcy()), samples=samples)
    assert caught.value.diagnostics[0].code == "OP0604"


class Trap:
    """Unpickling it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path):
    trap = tmp_path / "trapped"
    torch.save({"x": Trap(trap), "y": torch.zeros(2, 4)}, tmp_path / "new.pt")
    torch.save({"x": Trap(trap)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Trap(trap), protocol=4))
    for name in ("new.pt", "old.pt", "plain.pkl"):
        refused(tmp_path / name)
    assert not trap.exists()


def test_an_array_of_objects_is_refused(tmp_path):
    trap = tmp_path / "trapped"
    made = np.array([Trap(trap)], dtype=object)
    np.savez(tmp_path / "d.npz", x=made, y=made)
    refused(tmp_path / "d.npz")
    assert not trap.exists()


def test_a_tensor_that_shows_more_than_is_stored_is_refused(tmp_path):
    big = torch.zeros(1).expand(1 << 20, 1 << 10, 1 << 10)
    path = saved(tmp_path / "d.pt", x=big, y=big)
    assert path.stat().st_size < 10_000
    assert "more numbers than are stored" in refused(path).message


def test_an_array_that_declares_more_than_is_stored_is_refused(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
    )
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as held:
        for name in ("x.npy", "y.npy"):
            held.writestr(name, head.getvalue())
    assert "declares" in refused(tmp_path / "d.npz").message


def test_a_file_that_unpacks_to_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((64, 64, 64)), y=np.zeros((64, 64, 64)))
    monkeypatch.setattr("opdsl.data.io.formats.npz.data_budget", lambda: 1 << 20)
    assert "room for 1 MiB" in refused(tmp_path / "d.npz").message


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ([torch.zeros(2, 4)], "a list"),
        ({"x": torch.zeros(2, 4)}, "lacks `y`"),
        ({"a": torch.zeros(2, 4)}, "lacks `x`; it holds `a`"),
        ({"x": torch.zeros(2, 4), "y": torch.zeros(3, 4)}, "samples or grids differ"),
        ({"x": torch.zeros(2, 4, 4), "y": torch.zeros(2, 8, 8)}, "samples or grids differ"),
        ({"x": torch.zeros(2), "y": torch.zeros(2)}, "samples or grids differ"),
        ({"x": torch.tensor(1.0), "y": torch.tensor(1.0)}, "samples or grids differ"),
        ({"x": torch.zeros(2, 4).to_sparse(), "y": torch.zeros(2, 4)}, "not a dense tensor"),
        ({"x": torch.zeros(2, 4) * 1j, "y": torch.zeros(2, 4)}, "real numbers"),
        ({"x": torch.zeros(0, 4), "y": torch.zeros(0, 4)}, "hold 0 samples"),
    ],
)
def test_other_contents_are_named(tmp_path, held, told):
    torch.save(held, tmp_path / "d.pt")
    assert told in refused(tmp_path / "d.pt").message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"x,y\n1,2\n", "format is unknown"),
        (b"\x93NUMPY\x01\x00", "damaged"),
        (b"MATLAB 5.0 MAT-file, Platform", "MATLAB"),
        (b"CDF\x01", "damaged"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04 and then nothing", "damaged"),
        (b"\x80\x02 not a pickle", "damaged"),
        (b"\x89HDF\r\n\x1a\n", "damaged"),
    ],
)
def test_what_is_met_is_named(tmp_path, content, told):
    (tmp_path / "d.bin").write_bytes(content)
    one = refused(tmp_path / "d.bin")
    assert told in one.message
    assert one.helps


@pytest.mark.parametrize("part", [0.3, 0.8, 0.999])
@pytest.mark.parametrize("kind", ["new", "old", "npz"])
def test_truncated_files_are_refused(tmp_path, kind, part):
    path = tmp_path / "d"
    pair = darcy()
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **{k: v.numpy() for k, v in pair.items()})
    else:
        torch.save(pair, path, _use_new_zipfile_serialization=kind == "new")
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    refused(path)


def test_a_zip_of_other_things_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as held:
        held.writestr("readme.txt", "hello")
    assert "without tensors or arrays" in refused(tmp_path / "d.zip").message


def test_a_misspelt_path_is_met_with_the_right_one(tmp_path):
    saved(tmp_path / "darcy_train.pt", **darcy())
    one = refused(tmp_path / "darcy_trian.pt")
    assert "no such file" in one.message
    assert "did you mean `darcy_train.pt`?" in one.helps[0].text


def test_an_empty_folder_is_told_what_was_expected(tmp_path):
    one = refused(tmp_path)
    assert "no data in this folder" in one.message
    assert "data/train" in one.helps[0].text


def test_a_single_file_has_no_parts(tmp_path):
    assert "no part `test`" in refused(saved(tmp_path / "d.pt", **darcy()), split="test").message


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in refused(tmp_path / "pipe").message


def test_a_file_without_permission_is_told(tmp_path, monkeypatch):
    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = saved(tmp_path / "d.pt", **darcy())
    monkeypatch.setattr(Path, "open", closed)
    assert "cannot be opened: Permission denied" in refused(path).message


def test_the_source_is_the_path_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "d.pt", **darcy())
    assert open_dataset("./d.pt").source == "./d.pt"


@published
@pytest.mark.parametrize(
    ("name", "count", "suspects"),
    [
        ("darcy_train_16", 1000, (767,)),
        ("darcy_test_16", 50, ()),
        ("darcy_test_32", 50, ()),
        ("burgers_train_16", 800, ()),
        ("burgers_test_16", 400, ()),
    ],
)
def test_published_files_are_read_and_the_corrupt_sample_is_found(name, count, suspects):
    held = open_dataset(PUBLISHED / f"{name}.pt")
    assert len(held.values["y"]) == count
    assert held.suspects == suspects


@pytest.mark.parametrize(
    ("x", "y", "merged"),
    [
        ((5, 2, 16), (5, 9, 2, 16), (5, 18, 16)),
        ((5, 1, 12, 16), (5, 4, 1, 12, 16), (5, 4, 12, 16)),
        ((5, 2, 8, 9, 8), (5, 3, 1, 8, 9, 8), (5, 3, 8, 9, 8)),
        ((5, 12, 16), (5, 7, 12, 16), (5, 7, 12, 16)),  # no channels: the time stands for them
    ],
)
def test_an_axis_of_time_is_merged_with_the_channels(tmp_path, x, y, merged):
    values = np.arange(np.prod(y), dtype="float32").reshape(y)
    np.savez(tmp_path / "t.npz", x=np.zeros(x, "float32"), y=values)
    found = open_dataset(tmp_path / "t.npz")
    assert found.values["y"].shape == merged
    assert found.values["y"].flatten().tolist() == values.flatten().tolist()
