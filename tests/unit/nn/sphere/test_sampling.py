"""Latitudes at the centres of cells: nodes and weights against closed forms and moments."""

import math

import numpy as np
import pytest

import opdsl
from opdsl.diagnostics import OpError
from opdsl.nn.sphere.sampling import latitudes


@pytest.mark.parametrize("n", [1, 2, 36, 37])
def test_centres_are_those_of_equal_cells(n):
    """36 rows are 87.5, 82.5 ... as in data of five degrees."""
    z, _ = latitudes(n, "centres")
    degrees = 90 - np.degrees(np.arccos(z.numpy()))
    np.testing.assert_allclose(degrees, 90 - 180 / n * (np.arange(n) + 0.5), atol=1e-12)


def test_the_weights_of_few_centres_are_known():
    """n = 2: two halves of the axis; n = 3: nodes 0 and +-sqrt(3) / 2, weights 10/9 and 4/9."""
    np.testing.assert_allclose(latitudes(1, "centres")[1].numpy(), [2])
    np.testing.assert_allclose(latitudes(2, "centres")[1].numpy(), [1, 1])
    np.testing.assert_allclose(latitudes(3, "centres")[1].numpy(), [4 / 9, 10 / 9, 4 / 9])


@pytest.mark.parametrize("n", [4, 7, 36, 181])
def test_polynomials_below_the_number_of_centres_are_integrated_exactly(n):
    z, w = (x.numpy() for x in latitudes(n, "centres"))
    assert (w > 0).all()
    for degree in range(n):
        exact = 2 / (degree + 1) if degree % 2 == 0 else 0.0
        assert (w * z**degree).sum() == pytest.approx(exact, abs=1e-13)
    degree = n if n % 2 == 0 else n + 1  # the rule is not better than it says
    assert abs((w * z**degree).sum() - 2 / (degree + 1)) > 1e-3 * 2.0**-n


def test_the_transform_on_centres_needs_as_many_latitudes_as_its_integrals():
    """Products of harmonics of degree l have degree 2 l, which 2 l + 1 centres integrate."""
    program = """edition 2026

model M {{
  domain S = sphere(lat, lon, sampling = centres, min = ({rows}, 32))
  input a : S -> R^1
  output u : S -> R^1

  u = a |> spherical_conv(lmax = 8)
}}
"""
    assert opdsl.load(program.format(rows=17)).domains[0].sampling == "centres"
    with pytest.raises(OpError) as caught:
        opdsl.load(program.format(rows=16))
    assert caught.value.diagnostics[0].code == "OP0309"


def test_cosines_are_summed_to_the_last_digit():
    _, w = latitudes(720, "centres")
    assert float(w.sum()) == pytest.approx(2, abs=1e-14)
    assert float((w * latitudes(720, "centres")[0] ** 2).sum()) == pytest.approx(2 / 3, abs=1e-14)
    assert math.isclose(float(w[0]), float(w[-1]), rel_tol=1e-12)
