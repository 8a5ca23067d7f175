"""Means over points as integrals: what each point stands for is inside of the sums."""

import math

import pytest
import torch

import opdsl
from opdsl import Geometry, Packed
from opdsl.blocks.attention.slice_attention import SliceAttention
from opdsl.ir.axes import Axis
from opdsl.ir.spaces import Domain, Space

P = Domain(kind="points", name="P", ambient=1, measure="given", axes=(Axis(name="points"),))


def program(call: str, measure: str = "given") -> str:
    return (
        "edition 2026\n\nmodel M {\n"
        f"  domain P = points(1, geometry = per_sample, measure = {measure})\n"
        f"  input f : P -> R^4\n  output u : P -> R^4\n\n  u = {call}\n}}\n"
    )


CALLS = (
    "f |> attention(heads = 2)",
    "f |> attention(kind = galerkin)",
    "f |> attention(heads = 2, kind = linear)",
    "f |> slice_attention(heads = 2, slices = 3)",
    "f |> cross_attention(f, heads = 2)",
    "f |> integrate() |> broadcast(to = P)",
)


def points(n: int, crowded: bool) -> Geometry:
    """The midpoints of n cells of 0..1, which get smaller towards 0 if they are crowded."""
    ends = torch.linspace(0, 1, n + 1, dtype=torch.float64)
    ends = ends**2 if crowded else ends
    return Geometry(((ends[1:] + ends[:-1]) / 2)[:, None], weights=ends[1:] - ends[:-1])


def wave(x: torch.Tensor) -> torch.Tensor:
    parts = (torch.sin(3 * x), torch.cos(2 * x), x * x, torch.exp(-x))
    return torch.stack([y[:, 0] for y in parts])[None]


def at_the_end(model, place: Geometry) -> torch.Tensor:
    """The result at one more point, x = 0.4, that stands for nothing."""
    x = torch.cat((place.points, torch.tensor([[0.4]], dtype=torch.float64)))
    weights = torch.cat((place.weights, torch.full((1,), 1e-30, dtype=torch.float64)))
    with torch.no_grad():
        asked = {"P": Geometry(x, weights=weights)} if model.graph.side_inputs() else {}
        return model(wave(x), **asked)[0, :, -1]


@pytest.mark.parametrize("call", CALLS)
def test_clouds_of_other_densities_have_one_limit_to_second_order(call):
    torch.manual_seed(0)
    model = opdsl.compile(program(call)).double()
    limit = at_the_end(model, points(4096, crowded=False))
    errors = [
        (at_the_end(model, points(n, crowded=True)) - limit).norm() / limit.norm() for n in (32, 64)
    ]
    assert errors[0] < 2e-2
    assert math.log2(errors[0] / errors[1]) > 1.8


@pytest.mark.parametrize("call", CALLS)
def test_where_all_points_count_the_same_a_crowd_counts_more(call):
    torch.manual_seed(0)
    model = opdsl.compile(program(call, "uniform")).double()
    even, crowded = (at_the_end(model, points(256, crowded=c)) for c in (False, True))
    assert (even - crowded).norm() / even.norm() > 1e-3


@pytest.mark.parametrize("call", CALLS)
def test_weights_of_packed_samples_are_their_own(call):
    torch.manual_seed(0)
    model = opdsl.compile(program(call)).double()
    places = [points(7, crowded=True), points(12, crowded=False), points(5, crowded=True)]
    functions = [wave(x.points)[0] for x in places]
    packed = model(Packed.of(functions), P=places)
    for got, f, place in zip(packed.parts, functions, places, strict=True):
        torch.testing.assert_close(got, model(f[None], P=place)[0])


def test_slices_are_means_of_their_points_and_look_at_each_other():
    """By hand, in float64: one head, two slices."""
    torch.manual_seed(0)
    space = Space(domain=Domain(name="D", axes=(Axis(name="x"),)), channels=3)
    layer = SliceAttention(slices=2, heads=1).lower(space).double()
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    p = torch.softmax(layer.slice(layer.assigned(x[0])) / 0.5, -1)
    z = (p.T @ layer.carried(x[0])) / p.sum(0)[:, None]
    scores = layer.query(z) @ layer.key(z).T / math.sqrt(3)
    expected = layer.out(p @ (scores.softmax(-1) @ layer.value(z)))
    torch.testing.assert_close(layer(x)[0], expected, rtol=1e-6, atol=1e-7)
