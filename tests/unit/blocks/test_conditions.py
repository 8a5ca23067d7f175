"""`std.conditions.AdaptiveNorm`: the formula, and neuraloperator's layer with the same weights."""

import pytest
import torch

import opdsl

PROGRAM = """
edition 2026

from std.conditions import AdaptiveNorm

model Told {
  domain D = grid(x: 0..1, y: 0..1, min = 4)
  input v : D -> R^3
  input z : R^2
  output w : D -> R^3

  w = AdaptiveNorm(v, z, hidden = 16)
}
"""


NETWORK = "w.w.modulate.gelu.linear"
SCALE, SHIFT = "w.w.modulate.scale", "w.w.modulate.shift"


def told() -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    module = opdsl.compile(PROGRAM)
    with torch.no_grad():
        for x in module.parameters():
            x.normal_()
    return module, module.state_dict()


def applied(weights: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


@torch.no_grad()
def test_mean_and_deviation_are_those_that_the_vector_asks_for():
    module, weights = told()
    v, z = 3 + torch.randn(2, 3, 8, 9), torch.randn(2, 2)
    w = module(v, z)
    code = torch.nn.functional.gelu(applied(weights, NETWORK, z))
    torch.testing.assert_close(w.mean((2, 3)), applied(weights, SHIFT, code), rtol=1e-4, atol=1e-4)
    deviation = w.var((2, 3), correction=0).sqrt()
    wanted = (1 + applied(weights, SCALE, code)).abs()
    torch.testing.assert_close(deviation, wanted, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_it_is_the_adaptive_norm_of_neuraloperator():
    theirs = pytest.importorskip(
        "neuralop.layers.normalization_layers",
        reason="neuraloperator is not importable here",
        exc_type=ImportError,
    )
    module, weights = told()
    layer = theirs.AdaIN(
        2, 3, torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.GELU(), torch.nn.Linear(16, 6))
    )
    layer.mlp[0].weight.copy_(weights[f"{NETWORK}.weight"])
    layer.mlp[0].bias.copy_(weights[f"{NETWORK}.bias"])
    both = [
        torch.cat([weights[f"{x}.{key}"] for x in (SCALE, SHIFT)]) for key in ("weight", "bias")
    ]
    layer.mlp[2].weight.copy_(both[0])
    layer.mlp[2].bias.copy_(both[1] + torch.tensor([1.0] * 3 + [0.0] * 3))  # ours begins at one
    v, z = torch.randn(2, 3, 8, 9), torch.randn(2)
    layer.set_embedding(z)
    torch.testing.assert_close(module(v, z.expand(2, 2)), layer(v), rtol=1e-4, atol=1e-5)
