"""Hostile and damaged HDF5 files, each made here; a canary file whose bytes must never appear."""

import random
import struct

import h5py
import numpy as np
import pytest

from opdsl.data.io.dataset import open_dataset
from opdsl.data.io.hdf5.safe_h5 import open_hdf5
from opdsl.diagnostics import OpError

SECRET = 1234.5


@pytest.fixture
def canary(tmp_path):
    """A file outside the data set: raw float64, and the same in HDF5."""
    raw = tmp_path / "canary.bin"
    raw.write_bytes(struct.pack("<d", SECRET) * 64)
    with h5py.File(tmp_path / "canary.h5", "w") as f:
        f["secret"] = np.full(64, SECRET)
    return tmp_path


def hostile(path, fill):
    """A file of The Well's layout whose field `u` is made by `fill(group)`."""
    with h5py.File(path, "w") as f:
        d = f.create_group("dimensions")
        d.attrs["spatial_dims"] = ["x"]
        d["x"] = np.linspace(0, 1, 8)
        fill(f.create_group("t0_fields"))
    return path


def read_all(path, **kwargs):
    with open_hdf5(path, **kwargs) as inside:
        return [inside.read(name) for name in inside.arrays]


def refused(path, **kwargs):
    with pytest.raises(OpError) as caught:
        read_all(path, **kwargs)
    (one,) = caught.value.diagnostics
    with pytest.raises(OpError):
        open_dataset(path)
    assert str(SECRET) not in str(one.to_json())
    assert one.file == str(path)
    return one.code


def told(path, **kwargs):
    with pytest.raises(OpError) as caught:
        read_all(path, **kwargs)
    return caught.value.diagnostics[0].message


def external(group, where):
    group.create_dataset("u", (8, 8), "f8", external=[(str(where), 0, 512)])


def virtual(group, where):
    layout = h5py.VirtualLayout((64,), "f8")
    layout[:] = h5py.VirtualSource(str(where), "secret", (64,))
    group.create_virtual_dataset("u", layout)


def test_external_storage_is_refused(canary):
    bad = hostile(canary / "a.h5", lambda g: external(g, canary / "canary.bin"))
    with h5py.File(bad) as f:
        assert f["t0_fields/u"][0, 0] == SECRET  # what h5py alone would give away
    assert refused(bad) == "OP0615"


def test_an_external_link_is_refused(canary):
    def fill(group):
        group["u"] = h5py.ExternalLink(str(canary / "canary.h5"), "/secret")

    bad = hostile(canary / "a.h5", fill)
    with h5py.File(bad) as f:
        assert f["t0_fields/u"][0] == SECRET
    assert refused(bad) == "OP0615"


def test_a_virtual_data_set_is_refused(canary):
    bad = hostile(canary / "a.h5", lambda g: virtual(g, canary / "canary.h5"))
    with h5py.File(bad) as f:
        assert f["t0_fields/u"][0] == SECRET
    assert refused(bad) == "OP0615"


def test_a_virtual_data_set_without_its_source_is_no_field_of_zeros(canary):
    bad = hostile(canary / "a.h5", lambda g: virtual(g, canary / "absent.h5"))
    with h5py.File(bad) as f:
        assert f["t0_fields/u"][0] == 0
    assert refused(bad) == "OP0615"


def test_a_virtual_data_set_of_the_file_itself_is_refused_too(tmp_path):
    bad = hostile(tmp_path / "a.h5", lambda g: virtual(g, "."))
    assert refused(bad) == "OP0615"


def test_a_soft_link_through_an_external_link_is_refused(canary):
    def fill(group):
        group.file["away"] = h5py.ExternalLink(str(canary / "canary.h5"), "/")
        group["u"] = h5py.SoftLink("/away/secret")

    bad = hostile(canary / "a.h5", fill)
    with h5py.File(bad) as f:
        assert f["t0_fields/u"][0] == SECRET
    assert refused(bad) == "OP0615"


@pytest.mark.parametrize("target", ["/nothing", "../../canary", "/t0_fields/u"])
def test_a_soft_link_that_leads_nowhere_is_refused(tmp_path, target):
    def fill(group):
        group["u"] = h5py.SoftLink(target)

    assert refused(hostile(tmp_path / "a.h5", fill)) == "OP0615"


def test_a_hidden_link_deep_in_the_file_is_found(canary):
    def fill(group):
        group["u"] = np.zeros((4, 8))
        group.file.create_group("a/b/c")["d"] = h5py.ExternalLink(
            str(canary / "canary.h5"), "/secret"
        )

    assert refused(hostile(canary / "a.h5", fill)) == "OP0615"


def test_a_soft_link_inside_the_file_is_followed(tmp_path):
    def fill(group):
        group["v"] = np.arange(32.0).reshape(4, 8)
        group["v"].attrs["time_varying"] = False
        group["u"] = h5py.SoftLink("v")

    held = open_dataset(hostile(tmp_path / "a.h5", fill))
    assert held.values["u"].equal(held.values["v"])


def test_groups_that_contain_themselves_are_walked_once(tmp_path):
    def fill(group):
        group["u"] = np.zeros((4, 8))
        group["u"].attrs["time_varying"] = False
        group["again"] = group.file["/"]

    assert set(open_dataset(hostile(tmp_path / "a.h5", fill)).values) == {"u"}


def test_a_small_file_that_declares_much_is_refused(tmp_path):
    def fill(group):
        group.create_dataset("u", (1 << 15, 1 << 20), "f8", chunks=(1, 1 << 10))

    bad = hostile(tmp_path / "a.h5", fill)
    assert bad.stat().st_size < 20_000
    assert refused(bad) == "OP0610"
    assert "declares 274877906944 bytes and stores 0" in told(bad, cap=1 << 60)


def test_well_compressed_data_are_read(tmp_path):
    def fill(group):
        group.create_dataset("u", data=np.zeros((4000, 8, 128)), chunks=(1, 8, 128),
                             compression="gzip", compression_opts=9)  # fmt: skip

    with open_hdf5(hostile(tmp_path / "a.h5", fill)) as inside:
        assert inside.read("t0_fields/u", range(2)).shape == (2, 8, 128)


def test_more_than_the_memory_allows_is_refused(tmp_path):
    def fill(group):
        group["u"] = np.zeros((100, 8))

    path = hostile(tmp_path / "a.h5", fill)
    with open_hdf5(path, cap=3200) as inside:
        with pytest.raises(OpError) as caught:
            inside.read("t0_fields/u")
        assert inside.read("t0_fields/u", rows=range(50)).shape == (50, 8)
    assert "6.25 KiB" in caught.value.diagnostics[0].message
    assert "3.12 KiB" in caught.value.diagnostics[0].message


def test_a_coarse_reading_needs_memory_for_what_it_keeps(tmp_path):
    def fill(group):
        group["u"] = np.arange(800.0).reshape(100, 8)

    with open_hdf5(hostile(tmp_path / "a.h5", fill), cap=3200) as inside:
        got = inside.read("t0_fields/u", thin=(slice(None, None, 2),))
    assert np.array_equal(got, np.arange(800.0).reshape(100, 8)[:, ::2])


def test_a_chunk_larger_than_the_memory_allows_is_refused(tmp_path):
    def fill(group):
        group.create_dataset("u", data=np.zeros((100, 8)), chunks=(100, 8))

    assert "one chunk of `t0_fields/u`" in told(hostile(tmp_path / "a.h5", fill), cap=1000)


@pytest.mark.parametrize(
    "value",
    [
        np.array(["text"] * 8, dtype=h5py.string_dtype()),
        np.zeros(8, [("a", "f8"), ("b", "i4")]),
        np.zeros(8, np.complex64),
        np.zeros(8, np.longdouble),
    ],
    ids=["text", "compound", "complex", "longdouble"],
)
def test_what_is_no_number_is_refused(tmp_path, value):
    def fill(group):
        group["u"] = value

    path = hostile(tmp_path / "a.h5", fill)
    with open_hdf5(path) as inside, pytest.raises(OpError) as caught:
        inside.read("t0_fields/u")
    assert "not numbers" in caught.value.diagnostics[0].message


def test_too_many_objects_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("opdsl.data.io.hdf5.hdf5_survey.MOST_OBJECTS", 20)

    def fill(group):
        for i in range(30):
            group.create_group(f"g{i}")

    assert refused(hostile(tmp_path / "a.h5", fill)) == "OP0610"


def test_a_huge_attribute_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("opdsl.data.io.hdf5.hdf5_survey.MOST_ATTRIBUTE", 100)

    def fill(group):
        group.attrs["big"] = np.zeros(64)

    assert refused(hostile(tmp_path / "a.h5", fill)) == "OP0610"


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_called_damaged(tmp_path, part):
    def fill(group):
        group["u"] = np.zeros((100, 8))

    path = hostile(tmp_path / "a.h5", fill)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    assert refused(path) == "OP0610"


def test_a_damaged_file_gives_fields_or_a_diagnostic_and_never_anything_else(tmp_path):
    def fill(group):
        group.create_dataset("u", data=np.random.default_rng(0).random((6, 8)), chunks=(1, 8),
                             compression="gzip")  # fmt: skip
        group["u"].attrs["time_varying"] = False

    path = hostile(tmp_path / "a.h5", fill)
    good = path.read_bytes()
    rng = random.Random(5)  # noqa: S311  which bytes are broken, no secret
    codes = []
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(rng.choice([1, 4, 16])):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bad)
        codes.append(code(path))
    assert set(codes) <= {"read", "OP0610", "OP0615"}
    assert codes.count("OP0610") > 10


def code(path):
    try:
        open_dataset(path)
    except OpError as error:
        return error.diagnostics[0].code
    return "read"
