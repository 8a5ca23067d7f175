"""Packed values: against xarray, the arithmetic of the CF conventions, and wrong attributes."""

import numpy as np
import pytest

from opdsl.data.arrays.containers.packing import decode, decoded_type
from opdsl.diagnostics import OpError

PACKED = np.array([[-32767, -1, 0], [5, 100, 32767]], np.int16)


def test_packed_integers_become_floats_with_gaps():
    attributes = {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -32767}
    expected = [[np.nan, 9.5, 10.0], [12.5, 60.0, 16393.5]]
    np.testing.assert_array_equal(decode(PACKED, attributes), expected)


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", ">i4", "<f4", ">f4", ">f8"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"scale_factor": 0.25},
        {"add_offset": 100.0, "scale_factor": 0.25},
        {"_FillValue": 5},
        {"missing_value": 5, "_FillValue": 5, "scale_factor": 3.0},
    ],
)
def test_values_are_those_of_xarray(dtype, attributes):
    xarray = pytest.importorskip("xarray", reason="the oracle of packed values")
    values = np.array([0, 1, 5, 100], dtype)
    kind = np.dtype(dtype).type
    typed = {k: v if isinstance(v, float) else kind(v) for k, v in attributes.items()}
    oracle = xarray.conventions.decode_cf(xarray.Dataset({"v": ("x", values, typed)}))["v"]
    result = decode(values, attributes)
    np.testing.assert_allclose(result, oracle.values, rtol=1e-7)
    if "scale_factor" not in attributes:  # xarray gives float64 for a scale of 64 bits
        assert result.dtype == oracle.dtype
    assert result.dtype == decoded_type(np.dtype(dtype), attributes)


@pytest.mark.parametrize("dtype", [">i4", ">f4", "<f8", "u1"])
def test_values_without_packing_keep_their_type_in_native_order(dtype):
    values = np.array([1, 2, 3], dtype)
    result = decode(values, {"units": "K"})
    assert result.dtype == values.dtype.newbyteorder("=")
    assert result.tolist() == [1, 2, 3]


def test_several_marks_are_missing_values():
    result = decode(np.array([1.0, -9.0, 7.0], np.float32), {"missing_value": [-9, 7]})
    np.testing.assert_array_equal(result, [1, np.nan, np.nan])
    assert result.dtype == np.float32


def test_a_mark_is_rounded_as_the_values_are():
    result = decode(np.array([1e20, 1.0], np.float32), {"_FillValue": 1e20})
    np.testing.assert_array_equal(result, [np.nan, 1])


def test_a_mark_outside_the_range_of_the_format_marks_nothing():
    assert decode(np.array([1, 2], np.uint8), {"_FillValue": -9999}).tolist() == [1, 2]
    assert decode(np.array([1, 2], np.float32), {"_FillValue": 1e300}).tolist() == [1, 2]


def test_signed_bytes_may_stand_for_unsigned_ones():
    attributes = {"_Unsigned": "true", "_FillValue": -1}
    np.testing.assert_array_equal(decode(np.array([-1, -2, 3], "i1"), attributes), [np.nan, 254, 3])


@pytest.mark.parametrize("name", ["scale_factor", "add_offset", "_FillValue", "missing_value"])
@pytest.mark.parametrize("value", ["one", {}, [1, "x"]])
def test_an_attribute_that_is_no_number_is_refused(name, value):
    for function, packed in ((decode, PACKED), (decoded_type, PACKED.dtype)):
        with pytest.raises(OpError) as caught:
            function(packed, {name: value}, "f.nc")
        (one,) = caught.value.diagnostics
        assert (one.code, one.file) == ("OP0610", "f.nc")
        assert name in one.message
