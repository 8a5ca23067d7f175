"""Bytes of tensors while they are alive."""

import torch
from torch import nn

from opdsl.lower.memory.allocations import Allocations


def test_live_and_peak_bytes_follow_the_tensors():
    with Allocations() as counted:
        x = torch.ones(1000)
        y = x + 1
        assert counted.live == counted.peak == 8000
        del y
        assert counted.live == 4000
        counted.mark()
        z = x.view(10, 100).T
        assert counted.growth == counted.rise == 0
        z = z.contiguous()
        assert counted.growth == counted.rise == 4000
        del x, z
    assert counted.live == 0
    assert counted.peak == 8000


def test_tensors_that_a_graph_saves_are_alive_until_its_gradient():
    layers, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(100, 4)
    with Allocations() as counted:
        y = layers(x).sum()
        assert counted.live == 4 * (100 * 8 + 1)  # tanh saves its result
        y.backward()
        del y
        layers.zero_grad(set_to_none=True)
        assert counted.live == 0


def test_storages_from_before_do_not_count():
    x = torch.ones(1000)
    with Allocations() as counted:
        x.add_(1)
        y = x[:10]
        assert counted.live == 0
        assert not counted.counts(y)
