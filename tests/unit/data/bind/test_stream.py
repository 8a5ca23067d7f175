"""Data read a few samples at a time: the same fields, and no more of them in memory."""

import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from opdsl.data.bind.binding import bind_fields
from opdsl.data.bind.samples import FieldRequest
from opdsl.data.io import npz_writing
from opdsl.data.io.dataset import open_dataset, stream_dataset
from opdsl.data.io.hdf5.safe_h5 import Hdf5File
from opdsl.data.io.well_writing import WellLayout, write_well
from opdsl.diagnostics import OpError

COUNT, SIDE = 11, 32


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def h5(path, count=COUNT, seed=1):
    axes = {x: np.linspace(0, 1, SIDE) for x in "xy"}
    plan = WellLayout("set", axes, {"a": "input", "u": "output"}, count, "PERIODIC", "periodic")
    values = numbers(seed, 2, count, SIDE, SIDE)
    with write_well(path, plan) as put:
        for i in range(count):
            put(i, {"a": values[0, i], "u": values[1, i]})
    return path


def arrays():
    return {
        "x": numbers(2, COUNT, 3, SIDE, SIDE),
        "y": numbers(3, COUNT, SIDE, SIDE).astype(np.float64),
        "mask": numbers(4, COUNT, SIDE, SIDE) > 0,
        "grid": numbers(5, SIDE, 2),
    }


def npz(path):
    np.savez(path, **arrays())
    return path


def squeezed(path):
    np.savez_compressed(path, **arrays())
    return path


def fortran(path):
    np.savez(path, **{k: np.asfortranarray(x) for k, x in arrays().items()})
    return path


def swapped(path):
    np.savez(path, **{k: x.astype(x.dtype.newbyteorder(">")) for k, x in arrays().items()})
    return path


def pt(path):
    torch.save({k: torch.from_numpy(x) for k, x in arrays().items()}, path)
    return path


def old_pt(path):
    held = {k: torch.from_numpy(x) for k, x in arrays().items()}
    torch.save(held, path, _use_new_zipfile_serialization=False)
    return path


def folder(path):
    home = path / "data" / "test"
    home.mkdir(parents=True)
    h5(home / "a.h5", 4)
    h5(home / "b.h5", 7, seed=9)
    return path


MADE = {
    "h5": (h5, "d.h5", 4),
    "npz": (npz, "d.npz", 4),
    "compressed npz": (squeezed, "d.npz", 4),
    "npz of another order": (fortran, "d.npz", 1),
    "npz of another byte order": (swapped, "d.npz", 4),
    "pt": (pt, "d.pt", 4),
    "pt of the old format": (old_pt, "d.pt", 1),
    "folder": (folder, "set", 2 + 3),
}


@pytest.mark.parametrize("kind", MADE)
def test_the_pieces_are_the_whole(kind, tmp_path):
    make, name, pieces = MADE[kind]
    path = make(tmp_path / name)
    whole = open_dataset(path)
    stream = stream_dataset(path, size=3)
    found = list(stream.pieces)
    assert (stream.count, len(found)) == (COUNT, pieces)
    assert [x.start for x in found] == list(np.cumsum([0, *map(rows, found)])[:-1])
    for piece in found:
        assert (piece.name, piece.roles, piece.axes) == (whole.name, whole.roles, whole.axes)
        assert (piece.layout, piece.resolution) == (whole.layout, whole.resolution)
    for name, x in whole.values.items():
        torch.testing.assert_close(torch.cat([p.values[name] for p in found]), x, rtol=0, atol=0)


def rows(fields):
    return len(fields.values[next(iter(fields.values))])


def long_h5(path):
    return h5(path, 10 * COUNT)


@pytest.mark.parametrize("make", [long_h5, npz, squeezed])
def test_memory_does_not_hold_more_than_some_samples(make, tmp_path):
    path = make(tmp_path / ("d.h5" if make is long_h5 else "d.npz"))

    def peak(read):
        tracemalloc.start()
        read()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(lambda: open_dataset(path))  # what is imported and remembered once
    whole = peak(lambda: open_dataset(path))
    assert peak(lambda: [None for _ in stream_dataset(path, size=1).pieces]) < 0.45 * whole


def test_hdf5_is_asked_for_no_more_rows_than_a_piece(tmp_path, monkeypatch):
    path, asked = h5(tmp_path / "d.h5"), []
    read = Hdf5File.read

    def noted(self, path, rows=None, thin=()):
        asked.append((rows[0], len(rows)))
        return read(self, path, rows, thin)

    monkeypatch.setattr(Hdf5File, "read", noted)
    stream = stream_dataset(path, size=4)
    assert asked == []
    next(stream.pieces)
    assert asked == [(0, 4)] * 2
    assert [rows(x) for x in stream.pieces] == [4, 3]
    assert asked[2:] == [(4, 4)] * 2 + [(8, 3)] * 2


def test_a_number_that_is_not_finite_is_in_the_sample_of_the_file(tmp_path):
    held = arrays()
    held["x"][7, 0, 3, 3] = np.nan
    np.savez(tmp_path / "d.npz", **held)
    pieces = stream_dataset(tmp_path / "d.npz", size=3).pieces
    port = FieldRequest("a", 3, None, 2)
    bind_fields(next(pieces), [port], [], {"a": "x"})
    bind_fields(next(pieces), [port], [], {"a": "x"})
    with pytest.raises(OpError, match="first in sample 7"):
        bind_fields(next(pieces), [port], [], {"a": "x"})


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_cut_short_is_damaged(tmp_path, kept):
    path = npz(tmp_path / "d.npz")
    held = path.read_bytes()
    path.write_bytes(held[: int(kept * len(held))])
    with pytest.raises(OpError) as caught:
        list(stream_dataset(path, size=3).pieces)
    assert caught.value.diagnostics[0].code == "OP0610"


def test_a_changed_byte_is_seen(tmp_path):
    path = npz(tmp_path / "d.npz")
    held = bytearray(path.read_bytes())
    held[5000] ^= 255
    path.write_bytes(held)
    with pytest.raises(OpError) as caught:
        list(stream_dataset(path, size=3).pieces)
    assert caught.value.diagnostics[0].code == "OP0610"


def rewritten(path, change, method=zipfile.ZIP_STORED):
    """A file of torch with other bytes in its records."""
    made = pt(path.with_name("whole.pt"))
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(path, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


def test_a_compressed_pt_is_not_mapped(tmp_path):
    path = rewritten(tmp_path / "d.pt", lambda _, held: held, zipfile.ZIP_DEFLATED)
    found = list(stream_dataset(path, size=3).pieces)
    assert len(found) == 1
    np.testing.assert_array_equal(found[0].values["x"].numpy(), arrays()["x"])


@pytest.mark.parametrize("record", ["data/0", "data/1"])
def test_a_pt_with_a_short_record_is_damaged(tmp_path, record):
    path = rewritten(tmp_path / "d.pt", lambda n, x: x[:100] if n.endswith(record) else x)
    with pytest.raises(OpError) as caught:
        list(stream_dataset(path, size=3).pieces)
    assert caught.value.diagnostics[0].code == "OP0610"


def test_a_batch_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("opdsl.data.io.formats.npz.data_budget", lambda: 100_000)
    path = npz(tmp_path / "d.npz")
    assert rows(next(stream_dataset(path, size=1).pieces)) == 1
    with pytest.raises(OpError, match="a batch of 9 samples would take"):
        stream_dataset(path, size=9)


# ---------------------------------------------------------------------------------------- writing


def test_an_npz_written_in_pieces_is_read_by_numpy(tmp_path):
    x, y = numbers(6, 7, 2, 5), numbers(7, 7, 3)
    with npz_writing.new_npz(tmp_path / "o.npz", 7) as append:
        for some in (slice(0, 4), slice(4, 7)):
            append("x", x[some])
            append("y", y[some])
    with np.load(tmp_path / "o.npz") as found:
        np.testing.assert_array_equal(found["x"], x)
        np.testing.assert_array_equal(found["y"], y)
    assert [z.name for z in tmp_path.iterdir()] == ["o.npz"]


def test_an_npz_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "o.npz").write_text("old")

    def broken():
        with npz_writing.new_npz(tmp_path / "o.npz", 7) as append:
            append("x", numbers(6, 4, 2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert [z.name for z in tmp_path.iterdir()] == ["o.npz"]
    assert (tmp_path / "o.npz").read_text() == "old"
