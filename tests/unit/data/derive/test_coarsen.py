"""Which resolutions can be taken from a grid, against counting by hand."""

import pytest

from opdsl.data.derive.coarsen import possible, steps
from opdsl.diagnostics import OpError


def test_a_grid_of_nodes_keeps_both_ends():
    (k,) = steps((33,), 17, "node")
    assert list(range(33))[::k][0] == 0
    assert list(range(33))[::k][-1] == 32
    assert len(range(33)[::k]) == 17


def test_a_periodic_grid_keeps_its_period():
    (k,) = steps((32,), 8, "periodic")
    points = list(range(32))[::k]
    assert points[-1] + k == 32
    assert len(points) == 8


@pytest.mark.parametrize("layout", ["node", "periodic"])
@pytest.mark.parametrize("n", [2, 7, 16, 33, 421])
def test_every_possible_resolution_is_reached(n, layout):
    for m in possible(n, layout):
        (k,) = steps((n,), m, layout)
        assert len(range(n)[::k]) == m


def test_possible_resolutions_of_a_published_grid():
    assert possible(421, "node")[:6] == (421, 211, 141, 106, 85, 71)
    assert possible(16, "periodic") == (16, 8, 4, 2)


def test_axes_may_differ():
    assert steps((33, 17), (17, 17), "node") == (2, 1)


@pytest.mark.parametrize("want", [20, 65, 0, -1, (17,), (17, 17, 17)])
def test_an_impossible_resolution_says_what_is_possible(want):
    with pytest.raises(OpError) as caught:
        steps((33, 33), want, "node", source="a.h5")
    (said,) = caught.value.diagnostics
    assert said.code == "OP0614"
    assert "33, 17, 9, 5, 3, 2" in said.helps[0].text
    assert said.file == "a.h5"


def test_different_axes_are_told_apart_in_the_help():
    with pytest.raises(OpError) as caught:
        steps((9, 4), 7, "periodic")
    assert "axis 0: 9, 3; axis 1: 4, 2" in caught.value.diagnostics[0].helps[0].text
