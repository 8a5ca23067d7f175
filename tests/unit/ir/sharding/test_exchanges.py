"""Bytes of exchanges against a count of single numbers that change hands."""

import pytest

from opdsl.ir.sharding.exchanges import (
    all_to_all,
    fetched,
    gathered,
    halo_ranges,
    reduced,
    scattered,
)
from opdsl.parallel.parts import parts

CASES = [(8, 2), (9, 2), (11, 3), (13, 4), (4, 4)]


@pytest.mark.parametrize(("n", "ranks"), CASES)
def test_parts_follow_each_other_and_differ_by_one_at_most(n, ranks):
    pieces = parts(n, ranks)
    assert [i for x in pieces for i in x] == list(range(n))
    sizes = [len(x) for x in pieces]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


@pytest.mark.parametrize(("n", "ranks"), CASES)
@pytest.mark.parametrize("modes", [1, 5, 12])
def test_all_to_all_sends_each_number_to_the_process_that_gets_its_mode(n, ranks, modes):
    rows, columns = parts(n, ranks), parts(modes, ranks)
    before = {(i, k): r for r in range(ranks) for i in rows[r] for k in range(modes)}
    after = {(i, k): r for r in range(ranks) for i in range(n) for k in columns[r]}
    moved = [(before[x], after[x]) for x in before if before[x] != after[x]]
    forward, backward = all_to_all(rows, columns, 4)
    assert forward == tuple(4 * sum(a == r for a, _ in moved) for r in range(ranks))
    assert backward == tuple(4 * sum(b == r for _, b in moved) for r in range(ranks))


@pytest.mark.parametrize(("n", "ranks"), CASES)
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("points", [1, 2, 5, 20])
def test_a_halo_has_the_points_within_its_width_once(n, ranks, periodic, points):
    own = parts(n, ranks)
    need = [halo_ranges(x, points, n, periodic=periodic) for x in own]
    for part, ranges in zip(own, need, strict=True):
        near = {
            (i + d) % n if periodic else i + d for i in part for d in range(-points, points + 1)
        }
        listed = [i for x in ranges for i in x]
        assert sorted(listed) == sorted(near & set(range(n)))
    owner = {i: r for r in range(ranks) for i in own[r]}
    moved = [(owner[i], r) for r in range(ranks) for x in need[r] for i in x if owner[i] != r]
    forward, backward = fetched(own, need, 8)
    assert forward == tuple(8 * sum(a == r for a, _ in moved) for r in range(ranks))
    assert backward == tuple(8 * sum(b == r for _, b in moved) for r in range(ranks))


def test_collectives_send_what_their_algorithms_do():
    own = parts(5, 2)  # 3 and 2
    assert gathered(own, 4) == (12, 8)
    assert scattered(own, 4) == (8, 12)
    # an all-reduce is a reduce-scatter and an all-gather
    even = parts(8, 4)
    total = [a + b for a, b in zip(gathered(even, 4), scattered(even, 4), strict=True)]
    assert reduced(32, 4) == tuple(total)
    assert reduced(32, 1) == (0,)
