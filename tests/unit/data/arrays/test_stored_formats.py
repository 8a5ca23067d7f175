"""npy, npz and safetensors as named arrays: equal to what the writing library wrote, and sliced."""

import io
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from opdsl.data.arrays.containers import strided
from opdsl.data.arrays.containers.strided import Strided, dense, read_strided
from opdsl.data.arrays.reading import open_arrays
from opdsl.diagnostics import OpError

RANDOM = np.random.default_rng(0)
CUBE = RANDOM.random((7, 5, 6))
INDICES = [
    (),
    (slice(2, 5),),
    (slice(None), slice(1, 4, 2)),
    (slice(0, 7, 3), slice(None), slice(1, None, 4)),
    (slice(6, 7), slice(4, 5), slice(5, 6)),
    (slice(3, 3),),
]
VALUES = {
    "float64": CUBE,
    "float32": CUBE.astype("f4"),
    "big_endian": CUBE.astype(">f4"),
    "fortran": np.asfortranarray(CUBE),
    "int16": RANDOM.integers(-9, 9, (7, 5, 6)).astype("i2"),
    "bool": CUBE > 0.5,
    "scalar": np.float64(3.5),
    "empty": np.zeros((0, 3)),
    "half": CUBE.astype("f2"),
}


def equal(file, name, oracle):
    """Whole and sliced, values and types are those of the oracle, in this machine's byte order."""
    oracle = np.asarray(oracle)
    info = file.arrays[name]
    assert info.shape == oracle.shape
    assert info.dtype == oracle.dtype.newbyteorder("=")
    for index in INDICES:
        part = index[: oracle.ndim]
        values = file.read(name, part)
        assert values.dtype == info.dtype
        assert values.dtype.isnative
        assert np.array_equal(values, oracle[part])


@pytest.fixture(params=[1 << 22, 64], ids=["one piece", "small pieces"])
def pieces(request, monkeypatch):
    """Arrays of tests are read at once, or in pieces of a few bytes."""
    monkeypatch.setattr(strided, "PIECE", request.param)
    monkeypatch.setattr(strided, "SMALL", min(request.param, 1 << 16))


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_an_npz_are_those_that_numpy_saved(tmp_path, save):
    save(tmp_path / "a.npz", **VALUES)
    with open_arrays(tmp_path / "a.npz", "a.npz") as file:
        assert file.format == "NumPy .npz"
        assert list(file.arrays) == list(VALUES)
        for name, oracle in VALUES.items():
            equal(file, name, oracle)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("name", VALUES)
def test_an_npy_file_is_one_array_named_data(tmp_path, name):
    np.save(tmp_path / "a.npy", VALUES[name])
    with open_arrays(tmp_path / "a.npy", "a.npy") as file:
        assert list(file.arrays) == ["data"]
        equal(file, "data", VALUES[name])


@pytest.mark.usefixtures("pieces")
def test_tensors_of_safetensors_are_those_that_were_saved(tmp_path):
    cube = torch.from_numpy(CUBE)
    held = {"a": cube, "b": cube.float(), "c": cube > 0.5, "d": torch.arange(6), "e": cube.half()}
    save_file(held, tmp_path / "a.safetensors", {"unit": "K"})
    with open_arrays(tmp_path / "a.safetensors", "a") as file:
        assert file.attributes == {"unit": "K"}
        assert set(file.arrays) == set(held)
        for name, x in held.items():
            equal(file, name, x.numpy())


def test_bfloat16_is_read_as_float32(tmp_path):
    x = torch.randn(5, 4).bfloat16()
    save_file({"x": x}, tmp_path / "a.safetensors")
    torch.save({"x": x}, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        with open_arrays(tmp_path / name, name) as file:
            assert file.arrays["x"].dtype == np.float32
            assert np.array_equal(file.read("x", (slice(1, 4, 2),)), x.float().numpy()[1:4:2])


@pytest.mark.parametrize(
    "odd",
    [np.array(["text"]), np.zeros(3, [("a", "f8")]), np.zeros(3, complex), np.zeros(3, "M8[s]")],
    ids=["text", "compound", "complex", "dates"],
)
def test_arrays_of_no_numbers_are_listed_and_refused_when_read(tmp_path, odd):
    np.savez(tmp_path / "a.npz", odd=odd, x=CUBE)
    with open_arrays(tmp_path / "a.npz", "a.npz") as file:
        assert file.arrays["odd"].dtype == odd.dtype
        equal(file, "x", CUBE)
        with pytest.raises(OpError) as caught:
            file.read("odd")
    assert "not real numbers" in caught.value.diagnostics[0].message


def test_objects_are_listed_and_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", odd=np.array([{}, None], object), x=CUBE)
    with open_arrays(tmp_path / "a.npz", "a.npz") as file:
        assert file.arrays["odd"].dtype == object
        with pytest.raises(OpError):
            file.read("odd")
        equal(file, "x", CUBE)


@pytest.mark.parametrize("strides", [(8, 56, 280), (240, 48, 8), (0, 48, 8), (48, 0, 0)])
def test_any_strides_are_read_as_numpy_reads_them(strides, monkeypatch):
    monkeypatch.setattr(strided, "PIECE", 64)
    monkeypatch.setattr(strided, "SMALL", 16)
    raw = RANDOM.random(300)
    view = np.lib.stride_tricks.as_strided(raw[2:], (7, 5, 6), strides)
    place = Strided(16, raw.dtype, (7, 5, 6), strides)
    assert place.end <= raw.nbytes
    for index in INDICES:
        full = (*index, *(slice(None),) * (3 - len(index)))
        ranges = [range(n)[s] for n, s in zip(view.shape, full, strict=True)]
        assert np.array_equal(read_strided(io.BytesIO(raw.tobytes()), place, ranges), view[full])


@pytest.mark.parametrize("fortran", [True, False])
def test_an_array_without_gaps_is_only_read_forwards(fortran, monkeypatch):
    monkeypatch.setattr(strided, "PIECE", 64)
    monkeypatch.setattr(strided, "SMALL", 16)

    class Forward(io.BytesIO):
        def seek(self, position, *more):
            assert position >= self.tell()
            return super().seek(position, *more)

    order = "F" if fortran else "C"
    place = dense(0, CUBE.dtype, CUBE.shape, fortran=fortran)
    for index in INDICES:
        full = (*index, *(slice(None),) * (3 - len(index)))
        ranges = [range(n)[s] for n, s in zip(CUBE.shape, full, strict=True)]
        values = read_strided(Forward(CUBE.tobytes(order)), place, ranges)
        assert np.array_equal(values, CUBE[full])


def test_a_changed_value_in_an_archive_is_found_when_all_of_it_is_read(tmp_path):
    path = tmp_path / "a.npz"
    long = RANDOM.random(100_000)
    np.savez(path, x=long)
    data = bytearray(path.read_bytes())
    data[data.index(long[5:7].tobytes())] ^= 1
    path.write_bytes(data)
    with open_arrays(path, "a.npz") as file, pytest.raises(OpError) as caught:
        file.read("x")
    assert "damaged" in caught.value.diagnostics[0].message


def read_all(path):
    with open_arrays(path, path.name) as file:
        return [file.read(name) for name in file.arrays]


def refused(path):
    with pytest.raises(OpError) as caught:
        read_all(path)
    (one,) = caught.value.diagnostics
    assert one.code == "OP0610"
    assert one.helps
    return one


def header(shape, descr="<f8"):
    made = io.BytesIO()
    about = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(made, about)
    return made.getvalue()


@pytest.mark.parametrize("shape", [(1 << 20, 1 << 20), (-1, 4), (1 << 70,)])
def test_a_header_that_declares_more_than_is_there_is_refused(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(header(shape) + bytes(64))
    refused(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as held:
        held.writestr("x.npy", header(shape) + bytes(64))
    refused(tmp_path / "a.npz")


def test_an_archive_that_expands_without_end_is_refused(tmp_path):
    """The directory declares what deflate cannot have made; or the array does not fit in memory."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as held:
        held.writestr("x.npy", header((1 << 22,)) + bytes(8 << 22))
    data = path.read_bytes()
    size = (len(header((1 << 22,))) + (8 << 22)).to_bytes(4, "little")
    path.write_bytes(data.replace(size, (0x7FFFFFFF).to_bytes(4, "little")))
    refused(path)


def test_what_does_not_fit_into_memory_is_refused_and_a_part_is_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100, 100)))
    monkeypatch.setattr("opdsl.data.arrays.containers.admission.data_budget", lambda: 10_000)
    with open_arrays(tmp_path / "a.npz", "a.npz") as file:
        with pytest.raises(OpError) as caught:
            file.read("x")
        assert file.read("x", (slice(5),)).shape == (5, 100)
    assert "room for 9.77 KiB" in caught.value.diagnostics[0].message


@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.safetensors"])
def test_a_truncated_file_is_refused(tmp_path, name, part):
    np.save(tmp_path / "a.npy", CUBE)
    np.savez(tmp_path / "a.npz", x=CUBE)
    save_file({"x": torch.from_numpy(CUBE)}, tmp_path / "a.safetensors")
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(part * len(data))])
    refused(tmp_path / name)


def test_an_encrypted_or_lying_member_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=CUBE)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag of encryption
    path.write_bytes(data)
    refused(path)


def test_a_file_of_another_kind_names_the_formats(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n")
    one = refused(tmp_path / "a.csv")
    assert "safetensors" in one.helps[0].text
