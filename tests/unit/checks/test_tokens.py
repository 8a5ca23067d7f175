"""Attention over points that have one value in common is warned of."""

import pytest
import torch

from opdsl.compiler import check, compile  # noqa: A004  the verb of the language
from tests.programs import HEAD

WARNED = {
    "queries": "z = cross_attention(constant(L, out = 4), v)",
    "keys": "z = cross_attention(v, constant(L, out = 4))",
    "queries behind a layer": "z = cross_attention(constant(L, out = 4) |> linear(out = 4), v)",
    "queries behind a norm": "z = cross_attention(constant(L, out = 4) |> norm(kind = layer), v)",
    "a sum of constants": "z = cross_attention(constant(L, out = 4) + constant(L, out = 4), v)",
    "itself": "z = constant(L, out = 4) |> attention()",
    "slices of it": "z = constant(L, out = 4) |> slice_attention(slices = 2)",
    "a vector at every point": "z = cross_attention(broadcast(b, to = L), v)",
}
SILENT = {
    "with coordinates": "z = cross_attention(concat(constant(L, out = 4), coords(L)), v)",
    "fields given with the call": "z = cross_attention(static(L, fields = [p, q]), v)",
    "a trained function": "z = cross_attention(series(L, out = 4, modes = 3), v)",
    "plus an input": "z = attention(constant(P, out = 4) + v)",
    "coordinates themselves": "z = cross_attention(coords(L), v)",
}


def program(statement):
    return (
        f"{HEAD}model M {{\n  domain P = points(2)\n  domain L = grid(t: 0..1, size = 8)\n"
        f"  input v : P -> R^4\n  input b : R^4\n  output u : P -> R^4\n  {statement}\n"
        "  u = cross_attention(v, z) + broadcast(b, to = P)\n}\n"
    )


def found(statement):
    levels = {"OP0404": "allow", "OP0405": "allow"}
    return [x.code for x in check(program(statement), levels=levels).diagnostics]


@pytest.mark.parametrize("case", WARNED)
def test_equal_tokens_are_warned_of_once(case):
    assert found(WARNED[case]) == ["OP0416"]


@pytest.mark.parametrize("case", SILENT)
def test_tokens_that_differ_are_not(case):
    assert found(SILENT[case]) == []


def test_the_tokens_that_are_warned_of_are_equal():
    """The oracle: every row of the result is the same, whatever the weights."""
    module = compile(program(WARNED["queries"]))
    torch.manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.normal_()
    v, b = torch.randn(1, 4, 9), torch.zeros(1, 4)
    u = module(v, b)
    assert torch.allclose(u, u[..., :1].expand_as(u), atol=1e-5)
