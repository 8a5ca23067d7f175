"""HDF5, netCDF-4 and MATLAB v7.3 as named arrays: equal to what h5py wrote, sliced at the file."""

import h5py
import numpy as np
import pytest

from opdsl.data.arrays.reading import open_arrays
from opdsl.data.io.hdf5 import hyperslab
from opdsl.diagnostics import OpError

RANDOM = np.random.default_rng(0)
CUBE = RANDOM.random((9, 6, 5))
INDICES = [
    (),
    (slice(2, 5),),
    (slice(None), slice(1, 6, 2)),
    (slice(0, 9, 4), slice(None), slice(1, None, 3)),
    (slice(8, 9), slice(5, 6), slice(4, 5)),
    (slice(3, 3),),
]


@pytest.fixture
def write(tmp_path):
    """Write a file by a function of the open h5py file; the path."""

    def write(fill, name="a.h5", **options):
        with h5py.File(tmp_path / name, "w", **options) as file:
            fill(file)
        return tmp_path / name

    return write


def equal(file, name, oracle):
    info = file.arrays[name]
    assert info.shape == oracle.shape
    assert info.dtype == oracle.dtype.newbyteorder("=")
    for index in INDICES:
        part = index[: oracle.ndim]
        values = file.read(name, part)
        assert values.dtype == info.dtype
        assert values.dtype.isnative
        assert np.array_equal(values, oracle[part], equal_nan=oracle.dtype.kind == "f")


@pytest.mark.parametrize("piece", [1 << 22, 64])
@pytest.mark.parametrize("run", [1, 1 << 12])
@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (2, 3, 5)}, {"chunks": (1, 6, 5), "compression": "gzip"}],
    ids=["contiguous", "chunks", "gzip"],
)
def test_slices_are_those_of_numpy(write, monkeypatch, piece, run, options):
    monkeypatch.setattr(hyperslab, "PIECE", piece)
    monkeypatch.setattr(hyperslab, "RUN", run)
    values = {
        "a/b/cube": CUBE,
        "float": CUBE.astype("f4"),
        "big": CUBE.astype(">f4"),
        "short": RANDOM.integers(-9, 9, CUBE.shape).astype("i2"),
        "flags": CUBE > 0.5,
        "half": CUBE.astype("f2"),
    }

    def fill(file):
        for name, x in values.items():
            file.create_dataset(name, data=x, **options)
        file["scalar"] = 2.5
        file["empty"] = np.zeros((0, 3))

    with open_arrays(write(fill), "a.h5") as file:
        assert file.format == "HDF5"
        assert set(file.arrays) == {*values, "scalar", "empty"}
        for name, x in values.items():
            equal(file, name, x)
        assert file.read("scalar") == 2.5
        assert file.read("empty").shape == (0, 3)


def test_attributes_of_text_and_numbers_are_listed(write):
    def fill(file):
        file["x"] = CUBE
        file.attrs.update(beta=0.1, name="made", bytes=np.bytes_(b"b"), more=[1, 2])
        file["x"].attrs["unit"] = "K"
        file["x"].attrs["self"] = file["x"].ref
        file["x"].attrs["none"] = h5py.Empty("f4")
        file.create_group("g").attrs["config"] = "a: 1"

    with open_arrays(write(fill), "a.h5") as file:
        assert file.attributes == {"beta": 0.1, "name": "made", "bytes": "b", "more": [1, 2]}
        assert file.arrays["x"].attributes == {"unit": "K"}
        assert file.groups == {"g": {"config": "a: 1"}}


def test_what_is_no_number_is_listed_and_refused_when_read(write):
    odd = {
        "text": np.array(["a"] * 3, h5py.string_dtype()),
        "compound": np.zeros(3, [("a", "f8"), ("b", "i4")]),
        "complex": np.zeros(3, complex),
    }

    def fill(file):
        file["x"] = CUBE
        for name, x in odd.items():
            file[name] = x
        file.create_dataset("null", dtype="f8", data=h5py.Empty("f8"))
        date = h5py.h5t.UNIX_D32LE.copy()  # a type that NumPy lacks
        h5py.h5d.create(file.id, b"date", date, h5py.h5s.create_simple((3,)))

    with open_arrays(write(fill), "a.h5") as file:
        assert set(file.arrays) == {"x", "null", "date", *odd}
        assert file.arrays["date"].shape == (3,)
        equal(file, "x", CUBE)
        for name in ("date", *odd):
            with pytest.raises(OpError) as caught:
                file.read(name)
            assert "not real numbers" in caught.value.diagnostics[0].message


def test_a_soft_link_is_followed_inside_the_file_and_left_out_if_it_leads_nowhere(write):
    def fill(file):
        file["x"] = CUBE
        file["again"] = h5py.SoftLink("/x")
        file["nowhere"] = h5py.SoftLink("/absent")
        file["outside"] = h5py.SoftLink("../../etc")

    with open_arrays(write(fill), "a.h5") as file:
        assert set(file.arrays) == {"x", "again"}
        equal(file, "again", CUBE)


def read_all(path):
    with open_arrays(path, path.name) as file:
        return [file.read(name) for name in file.arrays]


def refused(path, code="OP0610"):
    with pytest.raises(OpError) as caught:
        read_all(path)
    (one,) = caught.value.diagnostics
    assert one.code == code
    return one


def test_values_in_other_files_are_refused(write, tmp_path):
    (tmp_path / "secret.bin").write_bytes(np.full(64, 1234.5).tobytes())
    write(lambda f: f.create_dataset("s", data=np.full(64, 1234.5)), "secret.h5")

    def external(file):
        file.create_dataset("u", (64,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 512)])

    def virtual(file):
        layout = h5py.VirtualLayout((64,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "s", (64,))
        file.create_virtual_dataset("u", layout)

    def link(file):
        file["u"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/s")

    for fill in (external, virtual, link):
        one = refused(write(fill), "OP0615")
        assert "1234.5" not in str(one.to_json())


def test_a_shape_that_is_not_stored_is_refused(write):
    one = refused(write(lambda f: f.create_dataset("u", (1 << 20, 1 << 20), "f8", chunks=(1, 64))))
    assert "declares" in one.message


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_file_is_refused(write, part):
    path = write(lambda f: f.create_dataset("u", data=CUBE))
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    refused(path)


def test_what_does_not_fit_into_memory_is_refused_and_a_part_is_read(write, monkeypatch):
    path = write(lambda f: f.create_dataset("u", data=np.zeros((100, 100))))
    monkeypatch.setattr("opdsl.data.arrays.containers.admission.data_budget", lambda: 10_000)
    with open_arrays(path, "a.h5") as file:
        assert file.read("u", (slice(5),)).shape == (5, 100)
    assert "room for" in refused(path).message


def test_a_filter_that_is_not_installed_is_named(write):
    def fill(file):
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((4,))
        plan.set_filter(32_999, h5py.h5z.FLAG_OPTIONAL, ())
        h5py.h5d.create(file.id, b"u", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((4,)), plan)
        file["u"][:] = 1.0

    assert "filter 32999" in refused(write(fill)).message


def test_thousands_of_small_groups_are_listed(write):
    def fill(file):
        for i in range(1500):
            file[f"{i:04d}/data"] = np.full((2, 3), i, "f4")

    with open_arrays(write(fill), "a.h5") as file:
        assert len(file.arrays) == 1500
        assert list(file.arrays)[:2] == ["0000/data", "0001/data"]
        assert (file.read("1234/data") == 1234).all()


# --- netCDF-4 and dimension scales --------------------------------------------------------------


def scales(file):
    """A field with scales on two of three axes, packed as the CF conventions say."""
    file["lat"], file["lon"] = np.linspace(-87.5, 87.5, 6), np.linspace(0, 300, 5)
    for name in ("lat", "lon"):
        file[name].make_scale(name)
    packed = np.arange(270, dtype="i2").reshape(9, 6, 5)
    file["t2m"] = packed
    file["t2m"].attrs.update(scale_factor=0.5, add_offset=270.0, _FillValue=np.int16(7))
    file["t2m"].dims[1].attach_scale(file["lat"])
    file["t2m"].dims[2].attach_scale(file["lon"])
    return np.where(packed == 7, np.nan, packed * 0.5 + 270.0)


def test_dimension_scales_name_axes_and_cf_packing_is_applied_in_netcdf(write):
    made = {}

    def fill(file):
        made["t2m"] = scales(file)
        file.attrs["_NCProperties"] = "version=2"
        # a dimension without a variable, longer than what may be declared and not stored
        file.create_dataset("node", (1 << 20,), "f4")
        file["node"].make_scale("This is a netCDF dimension but not a netCDF variable.    1048576")

    with open_arrays(write(fill, "a.nc"), "a.nc") as file:
        assert file.format == "netCDF-4"
        assert set(file.arrays) == {"lat", "lon", "t2m"}
        assert file.arrays["t2m"].axes == (None, "lat", "lon")
        assert file.arrays["lat"].axes == ("lat",)
        assert file.arrays["t2m"].attributes["add_offset"] == 270.0
        assert file.attributes == {}
        equal(file, "t2m", made["t2m"].astype(file.arrays["t2m"].dtype))
        assert np.isnan(file.read("t2m")).sum() == 1


def test_plain_hdf5_is_not_unpacked(write):
    with open_arrays(write(scales), "a.h5") as file:
        assert file.format == "HDF5"
        assert file.arrays["t2m"].axes == (None, "lat", "lon")
        equal(file, "t2m", np.arange(270, dtype="i2").reshape(9, 6, 5))


def test_labels_of_axes_are_their_names(write):
    def fill(file):
        file["u"] = CUBE
        file["u"].dims[0].label = "sample"
        file["u"].dims[2].label = "x"

    with open_arrays(write(fill), "a.h5") as file:
        assert file.arrays["u"].axes == ("sample", None, "x")


def test_a_scale_that_is_gone_leaves_an_axis_without_a_name(write):
    def fill(file):
        scales(file)
        del file["lat"]

    with open_arrays(write(fill), "a.h5") as file:
        assert file.arrays["t2m"].axes[0] is None
        assert "lat" not in file.arrays["t2m"].axes


def test_xarray_agrees_on_names_and_values(tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    field = xarray.DataArray(CUBE, dims=("time", "lat", "lon"), name="u")
    coords = {"lat": np.linspace(-75, 75, 6), "lon": np.linspace(0, 288, 5)}
    field.assign_coords(coords).to_netcdf(
        tmp_path / "a.nc",
        engine="h5netcdf",
        encoding={"u": {"dtype": "i2", "scale_factor": 1e-4, "_FillValue": -1}},
    )
    with open_arrays(tmp_path / "a.nc", "a.nc") as file:
        assert file.arrays["u"].axes == ("time", "lat", "lon")
        with xarray.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as oracle:
            for name in ("u", "lat", "lon"):
                assert np.allclose(file.read(name), oracle[name].values, rtol=1e-6)


# --- MATLAB v7.3 --------------------------------------------------------------------------------


def test_axes_of_matlab_are_in_its_own_order(write):
    """MATLAB writes an array of shape (9, 6, 5) as HDF5 of shape (5, 6, 9)."""

    def fill(file):
        file["u"] = CUBE.T
        file["u"].attrs["MATLAB_class"] = np.bytes_(b"double")
        file["nothing"] = np.zeros(2, "u8")
        file["nothing"].attrs["MATLAB_empty"] = np.uint8(1)
        file["#refs#/a"] = np.zeros(3)

    path = write(fill, "a.mat", userblock_size=512)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    with open_arrays(path, "a.mat") as file:
        assert file.format == "MATLAB v7.3"
        assert set(file.arrays) == {"u"}
        equal(file, "u", CUBE)
        assert file.read("u").flags.c_contiguous
        assert file.arrays["u"].attributes == {}
