"""Ranks of factorised weights: the rules of tensorly, and what is refused."""

import math

import pytest
from tensorly.cp_tensor import validate_cp_rank
from tensorly.tt_tensor import validate_tt_rank
from tensorly.tucker_tensor import validate_tucker_rank

from opdsl.ir.block import Refusal
from opdsl.ir.ranks import GREATEST, Axes, count_numbers, find_ranks

NAMES = ("in", "out", "x", "y", "z")
SHAPES = [(32, 32, 16, 9), (64, 64, 33, 17), (8, 4, 9), (16, 16, 9, 9, 5), (64, 64, 65, 33)]
FRACTIONS = [0.01, 0.05, 0.1, 0.37, 0.5, 1.0]
W = Axes(("in", "out", "x", "y"), (32, 32, 17, 9))


def library(factor: str, shape: tuple[int, ...], fraction: float) -> tuple[int, ...]:
    if factor == "cp":
        return (validate_cp_rank(shape, fraction),)
    if factor == "tucker":
        return tuple(validate_tucker_rank(shape, fraction))
    return tuple(validate_tt_rank(shape, fraction))[1:-1]


@pytest.mark.parametrize("factor", GREATEST)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_a_fraction_gives_the_ranks_of_tensorly(factor, shape, fraction):
    axes = Axes(NAMES[: len(shape)], shape)
    wanted = tuple(max(1, r) for r in library(factor, shape, fraction))
    within = all(r <= top for r, top in zip(wanted, GREATEST[factor](shape), strict=True))
    assert not within or find_ranks(factor, axes, fraction) == wanted
    assert within or factor == "tt"


@pytest.mark.parametrize("factor", GREATEST)
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.8, 1.0])
def test_a_fraction_is_about_that_part_of_the_numbers(factor, fraction):
    shape = (64, 64, 33, 17)
    ranks = find_ranks(factor, Axes(NAMES[:4], shape), fraction)
    part = count_numbers(factor, shape, ranks) / math.prod(shape)
    assert part == pytest.approx(fraction, rel=0.05)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
def test_a_train_of_two_is_a_product_of_two_matrices(fraction):
    """Here tensorly has a rule of its own, and warns."""
    (rank,) = find_ranks("tt", Axes(("channels", "x"), (40, 33)), fraction)
    assert rank * (40 + 33) == pytest.approx(fraction * 40 * 33, rel=0.12)


@pytest.mark.parametrize("factor", GREATEST)
def test_a_fraction_never_asks_for_more_than_the_full_rank(factor):
    for shape in [(1, 1, 5, 3), (2, 64, 3, 2), (1, 1, 1)]:
        found = find_ranks(factor, Axes(NAMES[: len(shape)], shape), 1.0)
        assert all(1 <= r <= top for r, top in zip(found, GREATEST[factor](shape), strict=True))


@pytest.mark.parametrize(
    ("factor", "rank", "found"),
    [
        ("cp", 7, (7,)),
        ("cp", (7,), (7,)),
        ("tucker", 9, (9, 9, 9, 9)),
        ("tucker", (8, 8, 9, 2), (8, 8, 9, 2)),
        ("tt", 4, (4, 4, 4)),
        ("tt", (32, 64, 9), (32, 64, 9)),
    ],
)
def test_whole_numbers_are_taken_as_they_are(factor, rank, found):
    assert find_ranks(factor, W, rank) == found


@pytest.mark.parametrize(
    ("factor", "rank", "said"),
    [
        ("cp", 0.0, "a rank of 0 is no part of a whole"),
        ("tucker", -0.5, "a rank of -0.5 is no part of a whole"),
        ("tucker", 1.5, "a rank of 1.5 is no part of a whole"),
        ("tt", float("nan"), "a rank of nan is no part of a whole"),
        ("tt", float("inf"), "a rank of inf is no part of a whole"),
        ("cp", 0, "a rank of 0"),
        ("tucker", (4, 4, 0, 4), "a rank of 0"),
        ("tucker", -3, "a rank of -3"),
        ("cp", (3, 3), "2 ranks for a weight that has 1"),
        ("tucker", (3, 3, 3), "3 ranks for a weight that has 4"),
        ("tucker", (), "0 ranks for a weight that has 4"),
        ("tt", (1, 3, 3, 3, 1), "5 ranks for a weight that has 3"),
        ("tucker", 10, "a rank of 10 is above the full rank, 9"),
        ("tucker", (33, 1, 1, 1), "a rank of 33 is above the full rank, 32"),
        ("tt", (32, 200, 9), "a rank of 200 is above the full rank, 153"),
        ("cp", 5000, "a rank of 5000 is above the full rank, 4896"),
    ],
)
def test_a_rank_that_does_not_fit_is_refused_where_it_is_written(factor, rank, said):
    with pytest.raises(Refusal) as caught:
        find_ranks(factor, W, rank)
    assert (caught.value.code, caught.value.at, caught.value.message) == ("OP0208", "rank", said)


def test_a_wrong_number_of_ranks_is_told_what_there_is():
    with pytest.raises(Refusal) as caught:
        find_ranks("tt", W, (3, 3))
    assert caught.value.label == "`tt` has one between in and out, out and x, x and y"
    assert caught.value.notes == ("the axes of the weight are in 32, out 32, x 17, y 9",)


def test_a_rank_above_the_full_one_is_told_ranks_that_fit():
    with pytest.raises(Refusal) as caught:
        find_ranks("tucker", W, (16, 16, 16, 16))
    assert caught.value.label == "on y, 9 hold every tensor of this size"
    assert caught.value.helps == ("`rank = (16, 16, 16, 9)`",)
