"""Bands and the points they need, against sets of frequencies written out."""

import pytest

from opdsl.spectrum import LAYOUTS, check_points, frequencies, points_needed


def test_a_symmetric_band_is_closed_under_conjugation():
    rows, columns = frequencies((3, 2), real=False)
    assert set(rows) == {-x for x in rows}
    assert set(columns) == {-x for x in columns}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("m", [1, 2, 7])
def test_the_needed_points_tell_all_frequencies_apart(layout, m):
    """n points tell k and k + n apart for no k, and -n / 2 is n / 2."""
    (band,) = frequencies((m,), layout, real=False)
    n = points_needed(band, layout)
    assert len({k % n for k in band}) == len(band)
    (half,) = frequencies((m,), layout)
    assert 2 * (half.stop - 1) <= points_needed(half, layout)


def test_a_grid_with_too_few_points_is_refused():
    check_points((5, 7), frequencies((2, 3)))
    with pytest.raises(ValueError, match="at least 7 points, got 6"):
        check_points((5, 6), frequencies((2, 3)))
    with pytest.raises(ValueError, match="2 axes have modes"):
        check_points((5,), frequencies((2, 3)))
