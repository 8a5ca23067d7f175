import math
import random

import pytest

from opdsl.ir.dims import Poly, product

X, Y = Poly.atom("D.x"), Poly.atom("D.y")


def polynomial(draw):
    """A random polynomial of few terms in two atoms."""
    return sum(
        (draw.randrange(-3, 4) * draw.choice([X, Y, X * Y, X * X, Poly.of(1)]) for _ in range(4)),
        Poly(),
    )


@pytest.mark.parametrize("seed", range(20))
def test_arithmetic_of_polynomials_is_that_of_their_values(seed):
    draw = random.Random(seed)  # noqa: S311  a test's choices
    p, q, at = polynomial(draw), polynomial(draw), {"D.x": draw.randrange(9), "D.y": 7}
    assert (p + q).at(at) == p.at(at) + q.at(at)
    assert (p * q).at(at) == p.at(at) * q.at(at)


@pytest.mark.parametrize("seed", range(20))
def test_equal_polynomials_are_equal_objects(seed):
    draw = random.Random(seed)  # noqa: S311  a test's choices
    p, q, r = (polynomial(draw) for _ in range(3))
    assert (p + q) * r == r * q + r * p
    assert hash(p + q) == hash(q + p)
    assert p + -1 * p == Poly()


def test_a_number_is_a_polynomial():
    assert Poly.of(3) * 2 + 1 == Poly.of(7)
    assert Poly.of(X) is X


def test_nothing_prints_as_zero():
    assert str(Poly()) == "0"


@pytest.mark.parametrize(
    ("poly", "text"),
    [
        (2 * X * X * Y + 3, "2·D.x^2·D.y + 3"),
        (X, "D.x"),
        (Poly.of(1), "1"),
        (0.5 * X, "0.5·D.x"),
        (2.0 * X, "2·D.x"),
    ],
)
def test_a_polynomial_prints_as_a_formula(poly, text):
    assert str(poly) == text


def test_a_logarithm_follows_from_its_argument():
    assert (X * Poly.atom("log2(D.x)")).at({"D.x": 8}) == 24
    assert Poly.atom("log2(D.x)").at({"D.x": 0}) == 0


def test_a_given_logarithm_is_not_computed():
    assert Poly.atom("log2(D.x)").at({"log2(D.x)": 5}) == 5


def test_the_empty_product_is_one():
    assert product(()) == Poly.of(1)
    assert product((X, Y, X)).at({"D.x": 3, "D.y": 5}) == math.prod((3, 5, 3))


def test_atoms_are_those_that_occur():
    assert (X * Y + 2).atoms() == {"D.x", "D.y"}
    assert (X + -1 * X).atoms() == set()
