"""A tiny problem on points: each sample has as many as it likes, learnt in milliseconds."""

from dataclasses import dataclass, field

import torch
from torch import nn

from opdsl import Geometry, Packed
from opdsl.nn.points.geometry import as_geometries, concat_coordinates
from opdsl.nn.points.packed import Packed as Pack

SIZES = (9, 4, 12, 7, 5)


@dataclass(frozen=True)
class Points:
    """Samples on points, as `fit` takes them."""

    inputs: dict
    outputs: dict
    model_points: dict
    weights: dict = field(default_factory=dict)
    name: str = "points"
    fingerprint: str = "p0"
    resolution: tuple = ()

    def __len__(self):
        return len(next(iter(self.inputs.values())))


class OnEach(nn.Module):
    """A layer at each point, of the function and of where it is; dropout takes random numbers."""

    def __init__(self, dropout=0.1):
        super().__init__()
        self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 1)
        self.dropout = nn.Dropout(dropout)
        self.seen = []

    def forward(self, f, P):
        placed = as_geometries(P)
        self.seen.append(placed)
        if isinstance(f, Pack):
            return f.map(lambda x: self.act(x.mT, concat_coordinates(placed, x)).mT)
        where = torch.stack([x.points for x in placed]).to(f.dtype)
        return self.act(f.mT, where.expand(len(f), -1, -1)).mT

    def act(self, f, where):
        x = torch.cat((f, where), -1)
        return self.second(self.dropout(torch.tanh(self.first(x))))


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def places(sizes=SIZES, seed=1):
    return tuple(Geometry(random(n, 2, seed=seed + i)) for i, n in enumerate(sizes))


def ragged(sizes=SIZES, seed=1, **more):
    """Samples of these sizes; the truth depends on values and on where they are."""
    where = places(sizes, seed)
    f = [random(2, n, seed=seed + 50 + i) * 3 + 5 for i, n in enumerate(sizes)]
    u = [x[:1] - x[1:] * g.points.T[:1] for x, g in zip(f, where, strict=True)]
    return Points({"f": Packed.of(f)}, {"u": Packed.of(u)}, {"P": where}, **more)


def shared(samples=5, points=8, seed=1, **more):
    """The same points for all samples."""
    where = Geometry(random(points, 2, seed=seed))
    f = random(samples, 2, points, seed=seed + 50) * 3 + 5
    u = f[:, :1] - f[:, 1:] * where.points.T[None, :1]
    return Points({"f": f}, {"u": u}, {"P": (where,)}, **more)
