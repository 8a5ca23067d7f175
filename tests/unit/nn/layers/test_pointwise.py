"""Pointwise layers and skips against torch's channels-first layers and closed forms."""

import math

import pytest
import torch
from torch.nn import functional

from opdsl.nn import ACTIVATIONS, Activation, Linear, Skip

X = (-2.0, -0.5, 0.0, 1.5)
CLOSED = {
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "identity": lambda x: x,
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "relu": lambda x: max(x, 0.0),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "sin": math.sin,
    "softplus": lambda x: math.log1p(math.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "tanh": math.tanh,
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_an_activation_is_its_formula(kind):
    wanted = torch.tensor([CLOSED[kind](x) for x in X], dtype=torch.float64)
    torch.testing.assert_close(Activation(kind)(torch.tensor(X, dtype=torch.float64)), wanted)


def test_a_linear_layer_is_a_convolution_with_one_point():
    torch.manual_seed(0)
    layer, x = Linear(3, 5), torch.randn(2, 4, 6, 3)
    first = functional.conv2d(x.movedim(-1, 1), layer.weight[..., None, None], layer.bias)
    torch.testing.assert_close(layer(x), first.movedim(1, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kind", "params"), [("identity", 0), ("soft", 3)])
def test_a_skip_begins_as_the_identity(kind, params):
    skip, x = Skip(kind, 3, 3), torch.randn(2, 4, 3)
    assert torch.equal(skip(x), x)
    assert sum(p.numel() for p in skip.parameters()) == params


def test_a_gate_scales_each_channel():
    gate, x = Skip("soft", 2, 2), torch.ones(1, 3, 2)
    with torch.no_grad():
        gate.weight.copy_(torch.tensor([2.0, -1.0]))
    assert gate(x)[0, 1].tolist() == [2.0, -1.0]


def test_a_linear_skip_maps_zero_to_zero():
    skip = Skip("linear", 3, 5)
    assert not skip(torch.zeros(1, 4, 3)).any()
    assert sum(p.numel() for p in skip.parameters()) == 15


@pytest.mark.parametrize("kind", ["identity", "soft"])
def test_a_skip_that_keeps_channels_refuses_to_change_them(kind):
    with pytest.raises(ValueError, match="keeps 3 channels, not 4"):
        Skip(kind, 3, 4)
