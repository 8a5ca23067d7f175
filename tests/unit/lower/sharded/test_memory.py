"""A training step that fits the memory of each of two processes, and not of one."""

from typing import Any

import pytest

from benchmarks.space_memory import difference, train
from tests.worlds import run_world

POINTS, WIDTH = 72, 16


@pytest.mark.slow
def test_a_step_that_does_not_fit_one_process_fits_two() -> None:
    (alone,) = run_world(1, train, POINTS, WIDTH, None)
    pair: list[dict[str, Any]] = run_world(2, train, POINTS, WIDTH, None)
    assert max(x["grown"] for x in pair) < 0.8 * alone["grown"]
    assert difference(alone, pair[0]) < 1e-5
    budget = round((alone["grown"] + max(x["grown"] for x in pair)) / 2)
    (limited,) = run_world(1, train, POINTS, WIDTH, budget)
    assert "allocate" in limited["error"]
    for x in run_world(2, train, POINTS, WIDTH, budget):
        assert difference(alone, x) < 1e-5
