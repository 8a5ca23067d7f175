"""A tiny problem: a linear map of functions on eight points, learnt in milliseconds."""

from dataclasses import dataclass

import torch
from torch import nn

from opdsl.train.config.schema import Optimizer, Schedule, Settings


@dataclass(frozen=True)
class Cloud:
    """Samples, as `fit` takes them."""

    inputs: dict
    outputs: dict
    name: str = "toy"
    fingerprint: str = "f0"
    resolution: tuple = (8,)

    def __len__(self):
        return len(next(iter(self.inputs.values())))


class Toy(nn.Module):
    """Two pointwise layers with dropout, so that random generators matter."""

    def __init__(self, dropout=0.1):
        super().__init__()
        self.first, self.second = nn.Linear(2, 8), nn.Linear(8, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, a):
        return self.second(self.dropout(torch.tanh(self.first(a.mT)))).mT


def cloud(size=12, seed=1, **more):
    random = torch.Generator().manual_seed(seed)
    a = torch.randn(size, 2, 8, generator=random) * 3 + 5
    return Cloud({"a": a}, {"u": 2 * a[:, :1] - a[:, 1:] + 1}, **more)


def quick(epochs=3, **more):
    said = {"optimizer": Optimizer(lr=0.01), "batch": 5, "device": "cpu"} | more
    return Settings(schedule=Schedule(epochs=epochs), **said)
