"""The library written in the language: sound, of the right size, the same at every resolution."""

import pytest
import torch

from opdsl import compiler
from opdsl.diagnostics import OpError

USES = {
    "FourierLayer": "a |> FourierLayer(modes = (3, 2), out = 5)",
    "FourierLayer, coarser": "a |> FourierLayer(modes = (3, 2), out = 5, to = D / 2)",
    "FNOBlock": "a |> FNOBlock(modes = 3)",
    "FNOBlock, normalised": "a |> FNOBlock(modes = 3, normalise = instance, act = relu)",
    "Lift": "a |> Lift(out = 5)",
    "Project": "a |> Project(out = 5, hidden = 7)",
    "ChannelMLP": "a |> ChannelMLP(expansion = 0.5)",
}
# c = 4; M = (2 m_1 + 1) (m_2 + 1) modes
SIZES = {
    "FourierLayer": 2 * 21 * 4 * 5 + (4 * 5 + 5),
    "FourierLayer, coarser": 2 * 21 * 4 * 5 + (4 * 5 + 5),
    "FNOBlock": (2 * 28 * 4 * 4 + 4) + 4 * 4 + (4 * 2 + 2 + 2 * 4 + 4) + 4,
    "FNOBlock, normalised": (2 * 28 * 4 * 4 + 4) + 4 * 4 + (4 * 2 + 2 + 2 * 4 + 4) + 4,
    "Lift": (4 * 10 + 10) + (10 * 5 + 5),
    "Project": (4 * 7 + 7) + (7 * 5 + 5),
    "ChannelMLP": (4 * 2 + 2) + (2 * 4 + 4),
}


def program(use: str) -> str:
    call = USES[use]
    place = "D / 2" if "to =" in call else "D"
    width = 5 if "out =" in call else 4
    return f"""
edition 2026

from std.fourier import FNOBlock, FourierLayer
from std.pointwise import ChannelMLP, Lift, Project

model Use {{
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 14)
  input a : D -> R^4
  output u : {place} -> R^{width}

  u = {call}
}}
"""


@pytest.mark.parametrize("use", USES)
def test_a_block_of_the_library_has_its_parameters(use):
    graph = compiler.load(program(use))
    assert sum(x.block.cost(*graph.arguments(x)).params for x in graph.nodes) == SIZES[use]


@pytest.mark.parametrize("use", USES)
def test_a_block_of_the_library_is_the_same_operator_at_every_resolution(use):
    """On a constant function the result is the same constant at every point, odd sizes too."""
    torch.manual_seed(0)
    module = compiler.compile(program(use)).double()
    constants = torch.randn(1, 4, 1, 1, dtype=torch.float64)
    results = [module(constants.expand(2, 4, *n)) for n in ((14, 16), (15, 31))]
    one = results[0][:1, :, :1, :1]
    for x in results:  # a norm of a constant makes its rounding 300 times larger
        torch.testing.assert_close(x, one.expand_as(x), rtol=0, atol=1e-10)


def test_a_layer_that_keeps_its_grid_does_not_resample():
    graph = compiler.load(program("FourierLayer"))
    assert [x.keyword for x in graph.nodes] == ["spectral_conv", "linear", "add", "apply"]


def test_too_many_modes_are_blamed_on_the_users_call():
    wrong = program("FourierLayer").replace("(3, 2)", "(3, 8)")
    with pytest.raises(OpError) as caught:
        compiler.load(wrong)
    found = caught.value.diagnostics[0]
    assert found.code == "OP0309"
    assert found.labels[0].span.text == "FourierLayer(modes = (3, 8), out = 5)"
    assert [x.text for x in found.helps][1] == "or keep fewer modes: `modes = (3, 6)`"
