"""Classic netCDF files against SciPy and xarray, and damaged ones."""

import struct

import numpy as np
import pytest
from scipy.io import netcdf_file

from opdsl.data.arrays.reading import open_arrays
from tests.array_files import refused

RANDOM = np.random.default_rng(0)
FIELD = RANDOM.standard_normal((4, 3, 5)).astype(np.float32)
SHORTS = RANDOM.integers(-100, 100, (4, 3)).astype(np.int16)


def written(path, version=1, records=True):
    with netcdf_file(path, "w", version=version) as file:
        file.title = "weather"
        file.valid = np.array([1.0, 2.0])
        file.createDimension("time", None if records else 4)
        file.createDimension("lat", 3)
        file.createDimension("lon", 5)
        t = file.createVariable("t2m", "f4", ("time", "lat", "lon"))
        t.units = "K"
        t[:] = FIELD
        packed = file.createVariable("packed", "i2", ("time", "lat"))
        packed.scale_factor, packed.add_offset = 0.5, 100.0
        packed._FillValue = np.int16(SHORTS[0, 0])
        packed[:] = SHORTS
        lat = file.createVariable("lat", "f8", ("lat",))
        lat[:] = [-60, 0, 60]
        text = file.createVariable("name", "c", ("lat",))
        text[:] = np.array([b"a", b"b", b"c"])
        if not records:  # SciPy writes a scalar over the records
            level = file.createVariable("level", "i4", ())
            level[...] = 850
    return path


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("records", [True, False])
def test_names_axes_and_values_are_those_that_were_written(tmp_path, version, records):
    with open_arrays(written(tmp_path / "a.nc", version, records), "a.nc") as file:
        assert file.format == "netCDF-3"
        assert file.attributes == {"title": "weather", "valid": [1.0, 2.0]}
        assert set(file.arrays) == {"t2m", "packed", "lat"} | (set() if records else {"level"})
        info = file.arrays["t2m"]
        assert (info.shape, info.dtype, info.axes) == (FIELD.shape, "f4", ("time", "lat", "lon"))
        assert info.attributes["units"] == "K"
        np.testing.assert_array_equal(file.read("t2m"), FIELD)
        index = (slice(1, 4, 2), slice(None), slice(2, 4))
        np.testing.assert_array_equal(file.read("t2m", index), FIELD[index])
        assert file.read("lat").tolist() == [-60, 0, 60]
        assert records or file.read("level") == 850


def test_packed_values_are_those_of_xarray(tmp_path):
    xarray = pytest.importorskip("xarray", reason="the oracle of packed values")
    path = written(tmp_path / "a.nc")
    with xarray.open_dataset(path, engine="scipy") as oracle, open_arrays(path, "a.nc") as file:
        np.testing.assert_array_equal(file.read("packed"), oracle["packed"].values)
        assert np.isnan(file.read("packed")[0, 0])
        assert file.arrays["packed"].dtype == np.float64


def test_a_single_record_variable_has_no_padding(tmp_path):
    path = tmp_path / "a.nc"
    values = np.arange(9, dtype=np.int16).reshape(3, 3)
    with netcdf_file(path, "w") as file:
        file.createDimension("t", None)
        file.createDimension("x", 3)
        file.createVariable("v", "i2", ("t", "x"))[:] = values
    with open_arrays(path, "a.nc") as file:
        np.testing.assert_array_equal(file.read("v"), values)


def test_files_with_64_bit_data_are_read(tmp_path):
    path = tmp_path / "a.nc"
    head = b"CDF\x05" + struct.pack(">QIQ", 0, 10, 1) + struct.pack(">Q4sQ", 1, b"x", 2)
    head += struct.pack(">IQ", 0, 0) + struct.pack(">IQ", 11, 1)
    head += struct.pack(">Q4sQQ", 1, b"v", 1, 0) + struct.pack(">IQ", 0, 0)
    head += struct.pack(">IQQ", 10, 16, len(head) + 20)
    path.write_bytes(head + struct.pack(">qq", -3, 2**40))
    with open_arrays(path, "a.nc") as file:
        assert file.read("v").tolist() == [-3, 2**40]


def test_every_cut_is_refused(tmp_path):
    path = written(tmp_path / "a.nc")
    data = path.read_bytes()
    for count in range(4, len(data), 11):
        path.write_bytes(data[:count])
        assert "damaged or incomplete" in refused(path)


def test_more_records_than_there_are_are_refused(tmp_path):
    path = written(tmp_path / "a.nc")
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack(">I", 2**31)
    path.write_bytes(data)
    assert "ends before the values" in refused(path)


def test_records_that_are_not_counted_are_those_in_the_file(tmp_path):
    path = written(tmp_path / "a.nc")
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack(">I", 2**32 - 1)
    path.write_bytes(data)
    with open_arrays(path, "a.nc") as file:
        np.testing.assert_array_equal(file.read("t2m"), FIELD)


def test_an_attribute_cannot_replace_what_the_reader_uses(tmp_path):
    path = tmp_path / "a.nc"
    head = b"CDF\x01" + struct.pack(">III", 0, 10, 1) + struct.pack(">I4sI", 1, b"x", 2)
    head += struct.pack(">III12sII4s", 12, 1, 9, b"variables", 2, 4, b"evil")
    head += struct.pack(">IIIsxxxII", 11, 1, 1, b"v", 1, 0) + struct.pack(">II", 0, 0)
    head += struct.pack(">III", 6, 16, len(head) + 12)
    path.write_bytes(head + struct.pack(">dd", 1, 2))
    with open_arrays(path, "a.nc") as file:
        assert file.attributes == {"variables": "evil"}
        assert file.read("v").tolist() == [1, 2]
