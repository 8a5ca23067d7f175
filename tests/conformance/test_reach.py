"""No block looks farther than it says: a value changed elsewhere changes nothing."""

import itertools

import pytest
import torch

from tests.conformance.test_blocks import CASES

NOTHING = 1e-12  # of the result: what a fast transform may leave


def reach(case):
    sizes = tuple(case.points(x) for x in (*case.spaces, case.result))
    return case.block.receptive_field(sizes, *case.spaces)


def on_the_grid(case):
    """Functions on D become one on D."""
    names = [x.domain.label for x in (*case.spaces, case.result)]
    return names[-1] == "D" and "D" in names[:-1] and set(names) <= {"D", "", "vector"}


LOCAL = [x for x in CASES if on_the_grid(x) and reach(x) is not None]


def distance(size, point, *, periodic):
    """From each index to a point, round a ring."""
    away = (torch.arange(size) - point).abs()
    return torch.minimum(away, size - away) if periodic else away


@pytest.mark.parametrize("case", LOCAL, ids=str)
def test_what_is_beyond_the_reach_does_not_matter(case):
    module, xs = case.module().double().eval(), case.inputs(torch.float64)
    y, allowed = case.run(module, xs), reach(case)
    where = [i for i, x in enumerate(case.spaces) if x.domain.label == "D"]
    ends = [(0, n // 2, n - 1) for n in case.sizes]
    for i, point in itertools.product(where, itertools.product(*ends)):
        other = [x.clone() for x in xs]
        other[i][(slice(None), *point)] += 1
        moved = (case.run(module, other) - y).abs().amax((0, -1)) > NOTHING * y.abs().max()
        for axis, (n, p, r) in enumerate(zip(case.sizes, point, allowed, strict=True)):
            periodic = case.result.domain.periodic[axis]
            far = distance(n, p, periodic=periodic) > r
            assert not moved.index_select(axis, far.nonzero().flatten()).any()


def test_the_blocks_with_stencils_and_those_at_points_are_among_them():
    found = {x.keyword for x in LOCAL}
    assert found >= {"conv", "difference_conv", "disco_conv", "linear", "norm", "modulate", "skip"}
    assert found.isdisjoint({"spectral_conv", "attention", "slice_attention", "axis_conv"})
