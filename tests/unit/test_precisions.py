"""The one table of precisions agrees with torch and with the names of the setting."""

from typing import get_args

import pytest
import torch

from opdsl.precisions import BYTES, PRECISIONS, PrecisionName, relative_size


def test_every_name_of_the_setting_is_in_the_table_but_mixed():
    assert {*PRECISIONS, "mixed"} == set(get_args(PrecisionName))


@pytest.mark.parametrize("dtype", BYTES)
def test_the_bytes_are_those_of_torch(dtype):
    assert BYTES[dtype] == getattr(torch, dtype).itemsize


@pytest.mark.parametrize("name", PRECISIONS)
def test_every_dtype_has_its_bytes(name):
    assert {PRECISIONS[name].weights, PRECISIONS[name].results} <= set(BYTES)


def test_narrow_numbers_are_widened_before_they_are_computed():
    assert [relative_size(x) for x in BYTES] == [2.0, 1.0, 1.0, 1.0]
