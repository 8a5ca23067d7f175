"""Bases and samplings: capacities against the rank of the sampled functions."""

import numpy as np
import pytest

from opdsl.bases import HALF_WAVES, capacity, carried, points_needed, terms
from opdsl.sampling import SAMPLINGS, positions


def functions(family: str, modes: int, t: np.ndarray) -> np.ndarray:
    k = np.arange(modes)[:, None]
    return {
        "sine": np.sin(np.pi * (k + 1) * t),
        "cosine": np.cos(np.pi * k * t),
        "quarter_sine": np.sin(np.pi * (k + 0.5) * t),
        "quarter_cosine": np.cos(np.pi * (k + 0.5) * t),
    }[family]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("family", HALF_WAVES)
@pytest.mark.parametrize("n", [5, 6, 9])
def test_a_capacity_is_the_rank_of_the_sampled_functions(
    sampling: str, family: str, n: int
) -> None:
    t = np.array(positions(sampling, n))
    most = capacity(family, sampling, n)
    assert np.linalg.matrix_rank(functions(family, most, t)) == most
    assert np.linalg.matrix_rank(functions(family, most + 1, t)) == most
    assert points_needed(family, sampling, most) == n


def test_an_end_without_points_carries_no_function_that_is_not_zero_there() -> None:
    at_ends = {"both": "", "centres": "", "interior": "lu", "lower": "u", "upper": "l"}
    for sampling, missing in at_ends.items():
        for family in HALF_WAVES:
            values = functions(family, 1, np.array([0.0, 1.0]))[0]
            lost = {"l": abs(values[0]) > 1e-9, "u": abs(values[1]) > 1e-9}
            assert carried(family, sampling) == (not any(lost[x] for x in missing))


def test_automatic_bases_follow_the_boundary() -> None:
    walls, free = ("dirichlet", "dirichlet"), ("neumann", "neumann")
    assert terms(("auto", "auto"), (None, None)) == (("fourier", "fourier"),)
    assert terms(("auto", "auto"), (free, None)) == (("cosine", "fourier"),)
    assert terms(("auto", "auto"), (walls, walls)) == (("sine", "sine"), ("cosine", "cosine"))
    assert terms(("auto",), (("dirichlet", "neumann"),)) == (("quarter_sine",), ("cosine",))
    assert terms(("auto",), (("neumann", "none"),)) == (("quarter_cosine",), ("cosine",))
    assert terms(("sine", "auto"), (walls, walls)) == (("sine", "sine"), ("sine", "cosine"))
