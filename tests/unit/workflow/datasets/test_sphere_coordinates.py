"""Latitudes and longitudes of files against spheres; nodes from NumPy and scipy."""

import numpy as np
import pytest
from scipy.special import roots_jacobi

from tests.unit.workflow.datasets.test_coordinates import (
    agrees,
    compared,
    declared,
    fault,
    fields_of,
    texts,
)

EAST = np.arange(16) * 22.5


def nodes(word, n=8):
    """Latitudes in degrees, north first."""
    if word == "gauss_legendre":
        return np.degrees(np.arcsin(np.polynomial.legendre.leggauss(n)[0][::-1]))
    if word == "lobatto":
        return np.degrees(np.arcsin(np.r_[1, roots_jacobi(n - 2, 1, 1)[0][::-1], -1]))
    return np.linspace(90, -90, n) if word == "equiangular" else 90 - (np.arange(n) + 0.5) * 180 / n


WORDS = ["gauss_legendre", "lobatto", "equiangular", "centres"]


def sphere(word):
    return f"domain D = sphere(lat, lon, sampling = {word})"


def grid(lat, lon=EAST, **more):
    return fields_of({"lat": lat, "lon": lon}, **more)


@pytest.mark.parametrize("word", WORDS)
def test_each_sampling_has_its_latitudes_and_no_others(word):
    agrees(sphere(word), grid(nodes(word)))
    for other in set(WORDS) - {word}:
        found = fault(sphere(other), grid(nodes(word)))
        assert found.code == "OP0657"
        assert f"sampling = {other}" in found.notes[0]
        agrees(declared(found), grid(nodes(word)))


@pytest.mark.parametrize("n", [32, 180, 721])
@pytest.mark.parametrize("word", WORDS)
def test_float32_latitudes_of_fine_grids_agree(word, n):
    agrees(sphere(word), grid(nodes(word, n)))


def test_latitudes_that_are_printed_with_four_digits_agree():
    """The Gaussian latitudes of NCEP, T62, as its netCDF files state them."""
    printed = np.round(nodes("gauss_legendre", 94), 4)
    assert np.abs(printed[:3] - [88.542, 86.6531, 84.7532]).max() < 2e-4
    agrees(sphere("gauss_legendre"), grid(printed))


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    "to_file",
    [np.radians, lambda x: 90 - x, lambda x: np.radians(90 - x)],
    ids=["radians", "colatitudes", "colatitudes in radians"],
)
def test_radians_and_colatitudes_agree(word, to_file):
    agrees(sphere(word), grid(to_file(nodes(word)), np.radians(EAST)))


def test_a_stated_unit_is_believed():
    agrees(sphere("centres"), grid(nodes("centres"), unit="degrees_north"))
    assert fault(sphere("centres"), grid(nodes("centres"), unit="radians")).code == "OP0657"
    agrees(sphere("centres"), grid(np.radians(nodes("centres")), np.radians(EAST), unit="radian"))


@pytest.mark.parametrize("word", WORDS)
def test_rows_that_begin_in_the_south_are_flipped_with_a_warning(word):
    fields = grid(nodes(word)[::-1])
    found, (warning,) = compared(sphere(word), fields)
    assert warning.code == "OP0659"
    assert warning.severity == "warning"
    for name in ("a", "u"):
        assert found.values[name].equal(fields.values[name].flip(2))
    np.testing.assert_allclose(found.coordinates["lat"].values, nodes(word), atol=1e-5)
    agrees(sphere(word), found)
    same, _ = compared(sphere(word), fields, check="warn")
    assert same is fields


@pytest.mark.parametrize("east", [EAST, EAST - 180, EAST + 5, (EAST + 180) % 360 - 180])
def test_longitudes_may_begin_anywhere(east):
    agrees(sphere("centres"), grid(nodes("centres"), east))


@pytest.mark.parametrize(
    ("east", "cure"),
    [
        (np.linspace(0, 360, 16), "leave out the last longitude"),
        (EAST[::-1], "reverse the longitudes"),
        (np.linspace(0, 90, 16), "declare a grid"),
    ],
)
def test_longitudes_that_do_not_close_are_named(east, cure):
    found = fault(sphere("centres"), grid(nodes("centres"), east))
    assert "the 16 longitudes are equal steps of 22.5 degrees eastwards" in found.notes[0]
    assert cure in texts(found)[0]


def test_longitudes_first_are_known_by_names_and_by_values():
    fields = fields_of({"longitude": EAST, "latitude": nodes("equiangular")})
    found = fault(sphere("equiangular"), fields)
    assert "the axes are longitude, latitude; the program: the axes are lat, lon" in found.notes[0]
    fields = fields_of({"p": EAST, "q": nodes("equiangular")})
    assert "exchange" in texts(fault(sphere("equiangular"), fields))[0]


def test_a_grid_without_its_last_row_has_no_sampling():
    """FourCastNet leaves out the south pole of ERA5: 720 of 721 rows."""
    found = fault(sphere("equiangular"), grid(np.linspace(90, -90, 721)[:-1]))
    assert "lat = 90 .. -89.75 (720 latitudes)" in found.notes[0]
    assert "interpolate" in texts(found)[0]
    part = fault(sphere("equiangular"), grid(np.linspace(60, 30, 31)))
    assert any("a part of a sphere is a grid" in x for x in texts(part))
