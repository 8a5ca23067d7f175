"""MATLAB files of version 5 against SciPy, and damaged ones."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io

from opdsl.data.arrays.reading import open_arrays
from tests.array_files import refused

RANDOM = np.random.default_rng(0)
VALUES = {
    "u": RANDOM.standard_normal((5, 7, 3)),
    "half": RANDOM.standard_normal((4, 6)).astype(np.float32),
    "counts": RANDOM.integers(-100, 100, (3, 2)).astype(np.int16),
    "wide": RANDOM.integers(0, 2**60, (2, 2)).astype(np.uint64),
    "mask": RANDOM.random((4, 4)) > 0.5,
    "one": np.array([[2.5]]),
    "tiny": np.array([[1, 2, 3]], np.uint8),
    "nothing": np.zeros((0, 3)),
}


def written(path, values=VALUES, **options):
    scipy.io.savemat(path, values, **options)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_names_shapes_and_values_are_those_of_scipy(tmp_path, compressed):
    path = written(tmp_path / "a.mat", do_compression=compressed)
    oracle = scipy.io.loadmat(path)
    with open_arrays(path, "a.mat") as file:
        assert file.format == "MATLAB v5"
        assert {k: x.shape for k, x in file.arrays.items()} == {
            k: shape for k, shape, _ in scipy.io.whosmat(path)
        }
        for name, info in file.arrays.items():
            values = file.read(name)
            assert values.dtype == info.dtype
            np.testing.assert_array_equal(values, oracle[name])


@pytest.mark.parametrize("compressed", [False, True])
def test_parts_are_read(tmp_path, compressed):
    path = written(tmp_path / "a.mat", do_compression=compressed)
    with open_arrays(path, "a.mat") as file:
        for index in ((slice(1, 4),), (slice(None, None, 2), slice(3, 5)), (slice(0, 0),)):
            np.testing.assert_array_equal(file.read("u", index), VALUES["u"][index])


def test_integers_that_matlab_stores_for_doubles_are_doubles(tmp_path):
    path = tmp_path / "a.mat"
    body = struct.pack("<IIIIII", 6, 8, 6, 0, 5, 8) + struct.pack("<ii", 1, 3)
    body += struct.pack("<HHI", 1, 1, ord("a")) + struct.pack("<HH3sx", 2, 3, b"\x07\x08\x09")
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    path.write_bytes(head + struct.pack("<II", 14, len(body)) + body)
    oracle = scipy.io.loadmat(path)["a"]
    with open_arrays(path, "a.mat") as file:
        assert file.arrays["a"].dtype == np.float64
        np.testing.assert_array_equal(file.read("a"), oracle)
        assert oracle.tolist() == [[7, 8, 9]]


def test_big_endian_files_are_read(tmp_path):
    path = tmp_path / "a.mat"
    body = struct.pack(">IIIIII", 6, 8, 6 << 0, 0, 5, 8) + struct.pack(">ii", 2, 1)
    body += struct.pack(">II8s", 1, 1, b"a") + struct.pack(">IIdd", 9, 16, 1.5, -2)
    head = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI"
    path.write_bytes(head + struct.pack(">II", 14, len(body)) + body)
    with open_arrays(path, "a.mat") as file:
        assert file.read("a").tolist() == [[1.5], [-2]]


def test_other_variables_are_named_as_left_out(tmp_path):
    odd = {"s": {"x": 1.0}, "c": np.array([1, "x"], object), "z": np.ones(2) * 1j, "t": "text"}
    path = written(tmp_path / "a.mat", {**odd, "u": np.ones(3)})
    with open_arrays(path, "a.mat") as file:
        assert list(file.arrays) == ["u"]
        skipped = ["s (struct)", "c (cell)", "z (complex)", "t (char)"]
        assert file.attributes["skipped"] == skipped


@pytest.mark.parametrize("compressed", [False, True])
def test_every_cut_is_refused_or_read(tmp_path, compressed):
    path = written(tmp_path / "a.mat", {"u": VALUES["u"]}, do_compression=compressed)
    data = path.read_bytes()
    for count in range(129, len(data), 7):
        path.write_bytes(data[:count])
        assert "damaged or incomplete" in refused(path)


def test_a_header_that_declares_more_than_there_is_is_refused(tmp_path):
    path = written(tmp_path / "a.mat", {"u": VALUES["u"]})
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<iii", 5, 7, 3))
    data[at : at + 4] = struct.pack("<i", 2**31 - 1)
    path.write_bytes(data)
    assert "declares the shape" in refused(path)


def test_a_variable_that_inflates_without_end_is_refused(tmp_path):
    path = tmp_path / "a.mat"
    inner = zlib.compress(struct.pack("<II", 14, 2**32 - 8) + bytes(1 << 20))
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    path.write_bytes(head + struct.pack("<II", 15, len(inner)) + inner)
    assert "declares 4294967288" in refused(path)


def test_nested_structures_are_not_followed(tmp_path):
    nested: dict[str, object] = {"x": 1.0}
    for _ in range(20):
        nested = {"x": nested}
    path = written(tmp_path / "a.mat", {"s": nested})
    with open_arrays(path, "a.mat") as file:
        assert not file.arrays
