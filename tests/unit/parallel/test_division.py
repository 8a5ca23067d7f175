"""The division of a batch among processes."""

import random
from itertools import combinations, pairwise

import pytest
import torch

from opdsl.parallel.division import divided


@pytest.mark.parametrize(("samples", "count"), [(5, 2), (4, 4), (2, 4), (1, 3), (0, 2), (16, 3)])
def test_parts_without_costs_are_nearly_equal_and_keep_the_order(samples, count):
    rows = torch.randperm(samples, generator=torch.Generator().manual_seed(0))
    parts = divided(rows, count)
    assert torch.equal(torch.cat(parts), rows)
    sizes = [len(x) for x in parts]
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


def least(costs: list[int], count: int) -> int:
    """The least largest cost over all ways to cut, by trying each."""
    best = sum(costs)
    for cuts in combinations(range(1, len(costs)), min(count, len(costs)) - 1):
        ends = [0, *cuts, len(costs)]
        sums = [sum(costs[a:b]) for a, b in pairwise(ends)]
        best = min(best, max(sums))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_the_most_costly_part_is_as_cheap_as_it_can_be(seed):
    draw = random.Random(seed)  # noqa: S311  no secret
    costs = [draw.randint(1, 50) for _ in range(draw.randint(1, 8))]
    count = draw.randint(1, 5)
    parts = divided(torch.arange(len(costs)), count, costs)
    assert torch.equal(torch.cat(parts), torch.arange(len(costs)))
    assert len(parts) == count
    assert max(sum(costs[i] for i in x.tolist()) for x in parts) == least(costs, count)
    filled = sum(len(x) > 0 for x in parts)
    assert filled == min(count, len(costs))
