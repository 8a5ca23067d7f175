"""Which resolutions can be taken from a grid, against counting by hand."""

import numpy as np
import pytest

from opdsl.data.derive.coarsen import (
    LAYOUTS,
    every_kth,
    layout_text,
    possible,
    read_layout,
    sampling_of,
    steps,
)
from opdsl.diagnostics import OpError
from opdsl.sampling import positions


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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [2, 7, 15, 27, 33, 45])
def test_points_that_are_kept_are_those_of_a_coarser_grid(layout, n):
    sampling = sampling_of(layout)
    for m in possible(n, layout):
        (kept,) = every_kth((n,), m, layout)
        np.testing.assert_allclose(positions(sampling, n)[kept], positions(sampling, m), atol=1e-12)


def test_every_third_centre_is_a_centre_and_every_second_is_none():
    assert possible(18, "centres") == (18, 6, 2)
    assert every_kth((18,), 6, "centres") == (slice(1, None, 3),)
    with pytest.raises(OpError) as caught:
        every_kth((18,), 9, "centres")
    (said,) = caught.value.diagnostics
    assert said.code == "OP0614"
    assert "k is odd" in str(said.notes)


def test_axes_may_have_layouts_of_their_own():
    kept = every_kth((33, 18, 15), (17, 6, 7), ("node", "centres", "interior"))
    assert kept == (slice(0, None, 2), slice(1, None, 3), slice(1, None, 2))


@pytest.mark.parametrize("layout", [*LAYOUTS, ("node", "centres")])
def test_layouts_are_read_as_they_were_written(layout):
    assert read_layout(layout_text(layout)) == layout
    assert read_layout(("node", "node")) is None
    assert read_layout("node,wrong") is None
    assert read_layout("centres,centres") == "centres"
