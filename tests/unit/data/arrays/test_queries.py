"""Rows with equal inputs become one sample; a dictionary of tuples is the oracle."""

import numpy as np
import pytest

from opdsl.data.arrays import queries
from opdsl.data.arrays.queries import group_rows

RNG = np.random.default_rng(1)


def by_dictionary(columns):
    groups = {}
    for i, row in enumerate(np.concatenate(columns, 1)):
        groups.setdefault(tuple(row.tolist()), []).append(i)
    return list(groups.values())


def lists(groups):
    ends = zip(groups.bounds[:-1], groups.bounds[1:], strict=True)
    return [groups.order[a:b].tolist() for a, b in ends]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_rows_are_grouped_in_the_order_of_their_first(dtype):
    rows = RNG.integers(-2, 3, size=(500, 3)).astype(dtype)
    columns = [rows[:, :2], rows[:, 2:]]
    assert lists(group_rows(columns)) == by_dictionary(columns)


def test_numbers_are_compared_and_not_their_bits():
    assert lists(group_rows([np.array([[0.0], [1.0], [-0.0]])])) == [[0, 2], [1]]
    assert lists(group_rows([np.array([[np.nan], [1.0], [np.nan]])])) == [[0], [1], [2]]


def test_equal_checksums_make_no_sample(monkeypatch):
    monkeypatch.setattr(queries, "_checksums", lambda x: np.zeros(len(x[0]), dtype=np.uint64))
    rows = RNG.integers(0, 3, size=(40, 2)).astype("f4")
    assert lists(group_rows([rows])) == by_dictionary([rows])


def test_rows_that_differ_in_one_bit_are_other_samples():
    rows = np.ones((4, 100), dtype="f4")
    rows[2, 57] = np.nextafter(np.float32(1), np.float32(2))
    assert lists(group_rows([rows])) == [[0, 1, 3], [2]]


def test_groups_are_described():
    assert group_rows([np.array([[1.0], [2], [1], [2]])]).described() == (
        "4 rows are 2 samples of 2 queries"
    )
    assert group_rows([np.array([[1.0], [2], [1]])]).described() == (
        "3 rows are 2 samples of 1 to 2 queries"
    )
