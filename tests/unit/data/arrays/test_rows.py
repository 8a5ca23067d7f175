"""Listings: numbered arrays in one row, short texts of attributes, plain JSON."""

import json
from dataclasses import dataclass, field

import numpy as np

from opdsl.data.arrays.containers.rows import attributes_text, listing_note, plain, rows
from opdsl.data.arrays.listing import ArrayInfo


@dataclass
class Listing:
    arrays: dict
    format: str = "HDF5"
    source: str = "a.h5"
    attributes: dict = field(default_factory=dict)
    groups: dict = field(default_factory=dict)


def listing(**shapes):
    """Arrays of these shapes; `__` stands for a slash."""
    infos = {k: ArrayInfo(x, np.dtype("f4")) for k, x in shapes.items()}
    return Listing({k.removeprefix("_").replace("__", "/"): x for k, x in infos.items()})


def test_arrays_of_numbered_groups_are_one_row():
    made = {f"_{i:04d}__data": (101, 128, 128, 2) for i in range(1000)}
    made |= {f"_{i:04d}__grid__x": (128,) for i in range(1000)}
    data, grid = rows(listing(**made))
    assert (data.name, data.extent) == ("*/data", "1000 arrays (101, 128, 128, 2)")
    assert (grid.name, grid.extent) == ("*/grid/x", "1000 arrays (128,)")


def test_few_arrays_and_those_of_other_types_stay_apart():
    assert [x.name for x in rows(listing(u0=(3,), u1=(3,), u2=(3,)))] == ["u0", "u1", "u2"]
    assert [x.name for x in rows(listing(u0=(3,), u1=(3,), u2=(3, 1), u3=(3,)))] == [
        "u0", "u1", "u3", "u2",
    ]  # fmt: skip


def test_only_numbers_that_differ_are_replaced():
    made = {f"t0_fields__u{i}": (5, 4) for i in range(4)}
    assert [x.name for x in rows(listing(**made))] == ["t0_fields/u*"]


def test_sizes_that_differ_are_a_range():
    made = {f"_{i}__points": (500 + i, 3) for i in range(5)}
    (row,) = rows(listing(**made))
    assert row.extent == "5 arrays (500..504, 3)"
    assert row.to_json()["shape"] == [[500, 504], 3]


def test_a_note_is_bounded():
    note = listing_note(listing(**{f"{'x' * i}": (3,) for i in range(1, 30)}), most=5)
    lines = note.splitlines()
    assert lines[0] == "HDF5 with 29 arrays"
    assert lines[-1] == "and 24 more"
    assert len(lines) == 7


def test_attributes_are_short():
    assert attributes_text({"unit": "K", "scale": [0.5], "t": [1, 2]}) == (
        "unit = K, scale = 0.5, t = [1, 2]"
    )
    assert len(attributes_text({"text": "word " * 100})) <= 60
    assert "\n" not in attributes_text({"a": "b\nc"})


def test_numbers_that_are_not_finite_are_text_in_json():
    value = plain({"a": 1}["a"]), plain([float("nan"), 1.0])
    assert json.dumps(value, allow_nan=False) == '[1, ["nan", 1.0]]'
