"""Facts at the ends: every rule against the Taylor coefficients of random functions."""

import itertools
import math

import numpy as np
import pytest

from opdsl.compiler import load
from opdsl.ir import ends, orders
from opdsl.ir.axes import Axis
from opdsl.ir.convergence import behaviours, converge
from opdsl.ir.ends import AxisBehaviour, Behaviour, End, Seam
from opdsl.ir.spaces import Domain

STATES = tuple(ends.TEXTS)
TERMS = 9  # Taylor coefficients
RANDOM = np.random.default_rng(0)


def coefficients(state: End) -> np.ndarray:
    """Taylor coefficients of a function with exactly these facts."""
    c = RANDOM.uniform(0.5, 1.5, TERMS)
    if End.ODD in state:
        c[0::2] = 0
    if End.EVEN in state:
        c[1::2] = 0
    if End.VANISHES in state:
        c[0] = 0
    if End.FLAT in state:
        c[1] = 0
    return c


def facts(c: np.ndarray) -> End:
    """The facts that Taylor coefficients show."""
    zero = np.abs(c) < 1e-12
    shown = End.NOTHING
    for fact, holds in (
        (End.VANISHES, zero[0]),
        (End.FLAT, zero[1]),
        (End.ODD, zero[0::2].all()),
        (End.EVEN, zero[1::2].all()),
    ):
        shown |= fact if holds else End.NOTHING
    return shown


def times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two series."""
    return np.convolve(a, b)[:TERMS]


def composed(outer: list[float], c: np.ndarray) -> np.ndarray:
    """The series of sum_k outer_k v^k."""
    total, power = np.zeros(TERMS), np.eye(TERMS)[0]
    for factor in outer:
        total, power = total + factor * power, times(power, c)
    return total


def at(state: End) -> Behaviour:
    """A function on one axis with facts at the lower end."""
    return Behaviour((AxisBehaviour(state, End.NOTHING, Seam.JUMP),))


def lower(v: Behaviour) -> End:
    """The facts at the lower end."""
    return v.axes[0].lower


def test_the_sample_functions_have_exactly_their_facts():
    assert [facts(coefficients(x)) for x in STATES] == list(STATES)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(STATES, STATES)))
def test_products_and_sums_have_the_facts_that_their_series_show(a, b):
    u, v = coefficients(a), coefficients(b)
    assert lower(ends.product(at(a), at(b))) == facts(times(u, v))
    assert lower(ends.join(at(a), at(b))) == facts(u + math.pi * v)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("outer", "zero", "odd"),
    [
        ([0, 1, 0, -1 / 3, 0, 2 / 15], True, True),  # tanh
        ([0, 0.5, 0.4, 0.1, -0.07], True, False),  # gelu, silu
        ([0.5, 0.25, 0.1, -0.02], False, False),  # sigmoid
    ],
)
def test_activations_have_the_facts_that_their_series_show(state, outer, zero, odd):
    predicted = lower(ends.activation(at(state), zero=zero, odd=odd))
    shown = facts(composed(outer, coefficients(state)))
    assert predicted in shown
    assert (predicted == shown) or state == End.ODD | End.FLAT  # whose square is flatter


@pytest.mark.parametrize("state", STATES)
def test_a_constant_leaves_slopes_and_even_functions(state):
    shifted = coefficients(state) + np.eye(TERMS)[0]
    assert lower(ends.add_constant(at(state))) == facts(shifted)


# --- orders: the error of the trapezoidal rule, measured ------------------------------------------


@pytest.mark.parametrize("family", ["sine", "cosine"])
@pytest.mark.parametrize("state", STATES[:-1])
def test_the_order_of_a_coefficient_is_that_of_the_trapezoidal_rule(family, state):
    """The error of int f phi, whose upper end contributes nothing since f is flat there."""
    polynomial = np.polynomial.Polynomial(coefficients(state))

    def f(t: np.ndarray) -> np.ndarray:
        # all derivatives vanish at t = 1
        return polynomial(t) * np.exp(1 - 1 / np.clip(1 - t**2, 1e-9, None) ** 2)

    def rule(n: int) -> float:
        t = np.linspace(0, 1, n + 1)
        wave = np.sin(np.pi * t) if family == "sine" else np.cos(np.pi * t)
        w = np.full(n + 1, 1 / n)
        w[[0, -1]] /= 2
        return float(np.sum(w * f(t) * wave))

    exact = rule(4096)
    errors = [abs(rule(n) - exact) for n in (32, 64)]
    axis = Axis(name="x")
    upper = End.ODD if family == "sine" else End.EVEN
    found = orders.half_waves(axis, AxisBehaviour(state, upper, Seam.JUMP), family).value
    if math.isinf(found):
        assert errors[-1] < 1e-9
    else:
        assert math.log2(errors[0] / errors[1]) == pytest.approx(found, abs=0.3)


def test_points_on_a_circle_have_the_order_of_what_happens_at_the_seam():
    domain = Domain(name="D", axes=(Axis(name="x", boundary="periodic"),))
    centres = Domain(name="D", axes=(Axis(name="x", boundary="periodic", sampling="centres"),))

    def order(where: Domain, seam: Seam) -> float:
        axes = (AxisBehaviour(End.NOTHING, End.NOTHING, seam),)
        return orders.coefficients(where, Behaviour(axes)).value

    assert [order(domain, x) for x in Seam] == [1, 2, math.inf]
    assert [order(centres, x) for x in Seam] == [2, 2, math.inf]


# --- whole programs -------------------------------------------------------------------------------

PROGRAM = """
edition 2026

model M {{
  domain D = grid(x: 0..1, boundary = dirichlet, min = 16)
  input f : D -> R^2, ends = {ends}
  output u : D -> R^2

  u = f |> {chain}
}}
"""


@pytest.mark.parametrize(
    ("given", "chain", "wanted"),
    [
        ("odd", "linear(out = 2, bias = false)", End.ODD),
        ("odd", "linear(out = 2)", End.NOTHING),
        ("even", "linear(out = 2) |> gelu() |> mlp(widths = [4, 2])", End.EVEN),
        ("odd", "gelu()", End.VANISHES),
        ("odd", "sigmoid()", End.NOTHING),
        ("odd", "tanh()", End.ODD),
        ("neumann", "gelu()", End.FLAT),
        ("dirichlet", "norm()", End.NOTHING),
        ("odd", "meet(boundary)", End.EVEN | End.VANISHES),
        ("none", "spectral_conv(modes = 4, basis = sine, bias = false)", End.ODD),
        ("none", "spectral_conv(modes = 4, basis = sine)", End.NOTHING),
        ("odd", "spectral_conv(modes = 4, basis = cosine)", End.EVEN),
        ("odd", "spectral_conv(modes = 4, basis = auto)", End.NOTHING),
        ("odd", "conv(out = 2)", End.NOTHING),
    ],
)
def test_a_block_maps_what_is_known_at_the_ends(given, chain, wanted):
    graph = load(PROGRAM.format(ends=given, chain=chain))
    found = behaviours(graph)[graph.outputs[0].source].axes[0]
    assert found.ends == (wanted, wanted)


def test_both_ends_are_followed_by_themselves():
    graph = load(PROGRAM.format(ends="odd..even", chain="tanh() |> gelu()"))
    found = behaviours(graph)[graph.outputs[0].source]
    assert found.axes[0].ends == (End.VANISHES, End.EVEN)
    domain = graph.outputs[0].space.domain
    assert ends.describe(domain, found) == (
        "vanishes at the lower end of x",
        "is even at the upper end of x",
    )


@pytest.mark.parametrize(
    ("chain", "order", "node"),
    [
        ("linear(out = 2) |> gelu()", math.inf, None),
        ("spectral_conv(modes = 4, basis = sine)", math.inf, None),
        ("gelu() |> spectral_conv(modes = 4, basis = sine)", 4, "u.spectral_conv"),
        ("linear(out = 2) |> spectral_conv(modes = 4, basis = sine)", 2, "u.spectral_conv"),
        ("spectral_conv(modes = 4) |> norm()", 1, "u.spectral_conv"),
        ("attention()", 1, "u.attention"),
    ],
)
def test_the_order_of_a_model_is_the_least_of_its_nodes(chain, order, node):
    found = converge(load(PROGRAM.format(ends="odd", chain=chain)))
    assert found.order is not None
    assert found.order.value == order
    assert (found.node.path if found.node else None) == node


def test_a_block_without_an_order_makes_that_of_the_model_unknown():
    found = converge(load(PROGRAM.format(ends="odd", chain="conv(out = 2)")))
    assert found.order is None
    assert found.text == "not known, since that of `u.conv` (conv) is not"


def test_a_node_that_no_output_needs_has_no_influence():
    text = PROGRAM.format(ends="odd", chain="gelu()").replace(
        "u = f", "v = f |> spectral_conv(modes = 4)\n  u = f"
    )
    assert converge(load(text)).text == "spectral"
