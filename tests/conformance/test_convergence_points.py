"""The specs on points tend to limits: as their grid gets finer, and as their surface gets denser.

The shape is a ball in a box, whose distance and surface are known.
"""

import math

import pytest
import torch
from torch import Tensor

import opdsl
from opdsl.resources import root

CENTRE, RADIUS = 0.5, 0.3
SMALL = {"width": 4, "modes": 3}


def surface(count: int) -> opdsl.Geometry:
    """Points of equal areas on the ball, along a spiral."""
    i = torch.arange(count, dtype=torch.float64) + 0.5
    z, turn = 1 - 2 * i / count, i * (math.pi * (3 - math.sqrt(5)))
    flat = (1 - z.square()).sqrt()
    units = torch.stack((flat * turn.cos(), flat * turn.sin(), z), 1)
    area = 4 * math.pi * RADIUS**2 / count
    return opdsl.Geometry(CENTRE + RADIUS * units, weights=torch.full((count,), area).double())


def distance(points: int) -> Tensor:
    """From the surface, on a grid with both ends: (1, 1, *grid)."""
    line = torch.linspace(0, 1, points, dtype=torch.float64)
    where = torch.stack(torch.meshgrid(line, line, line, indexing="ij")) - CENTRE
    return (where.square().sum(0).sqrt() - RADIUS).abs()[None, None]


def module(name: str, seed: int):
    torch.manual_seed(seed)
    return opdsl.compile(root("specs") / f"{name}.op", **SMALL).double().eval()


def pressure(net, grid: int, count: int, *, seen: bool = True) -> Tensor:
    """At the same points, whatever the grid and the surface are; `seen`: as the surface is."""
    given = {"distance": distance(grid), "Q": surface(60)}
    if "triangle_normals" in {x.name for x in net.graph.inputs}:
        shape = surface(count)
        given |= {"P": shape, "triangle_normals": seen * ((shape.points - CENTRE) / RADIUS).T[None]}
    with torch.no_grad():
        return net(**given)


def gaps(found: list[Tensor], size: Tensor) -> list[float]:
    """How far each is from the last, as parts of `size`."""
    return [float((x - found[-1]).norm() / size.norm()) for x in found[:-1]]


@pytest.mark.parametrize("name", ["fno_gno", pytest.param("gino_car", marks=pytest.mark.slow)])
def test_a_finer_grid_changes_less_and_less(name):
    rows = []
    for seed in range(3):
        net = module(name, seed)
        found = [pressure(net, n + 1, 400) for n in (15, 30, 60)]
        rows.append(gaps(found, found[-1] - found[-1].mean()))  # what varies
    coarse, fine = (sum(x) / 3 for x in zip(*rows, strict=True))
    assert fine < 0.5 * coarse
    assert fine < 0.2


def test_a_denser_surface_changes_less_and_less():
    rows = []
    for seed in range(3):
        net = module("gino_car", seed)
        found = [pressure(net, 16, n) for n in (250, 1000, 4000, 16000)]
        rows.append(gaps(found, found[-1] - pressure(net, 16, 250, seen=False)))  # its effect
    first, second, third = (sum(x) / 3 for x in zip(*rows, strict=True))
    assert second < 0.6 * first
    assert third < 0.6 * second
    assert third < 0.01
