"""Discretisation convergence: does an operator with fixed weights tend to a limit under refinement?

E(N) = ||R_N G(a) - G(R_N a)|| / ||R_N G(a)||, where a is a smooth random function on the finest
grid and R_N takes its values at the points of the grid of N; the order is log2 E(N) / E(2N).

Source: Bartolucci et al. 2023, arXiv:2305.19913; Lanthaler et al. 2024, arXiv:2405.02221.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.compiler import load
from opdsl.ir.graph import Graph
from opdsl.lower.torch import OperatorModule, lower

DECAY = 3.0  # of the spectrum of an input: amplitudes |k|^-3
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Errors:
    """E at each resolution, by points on an axis (spacings, where both ends are points)."""

    at: Mapping[int, float]

    @property
    def order(self) -> float:
        """Between the two finest."""
        (coarse, a), (fine, b) = sorted(self.at.items())[-2:]
        return math.log(a / b) / math.log(fine / coarse) if min(a, b) > 0 else math.inf

    def passes(self, error: float, order: float) -> bool:
        """Whether the finest error and the order are good enough."""
        return self.at[max(self.at)] <= error and self.order >= order


def measure(
    path_or_text: str, sizes: Sequence[int], finest: int, *, seed: int = 0, **params: object
) -> Errors:
    """E of a program with random weights, in float64.

    Args:
        path_or_text: a program.
        sizes: spacings on each axis of the grids that are compared with the finest one.
        finest: its spacings, a multiple of all sizes.
        seed: of weights and inputs.
        params: of the model.
    """
    torch.manual_seed(seed)
    graph = load(path_or_text, **params)
    module = lower(graph).double().eval()
    inputs = [smooth(x.space, finest) for x in graph.inputs]
    with torch.no_grad():
        whole = outputs(module, inputs)
        found = {n: error(module, graph, inputs, whole, n, finest) for n in sizes}
    return Errors(found)


def error(
    module: OperatorModule,
    graph: Graph,
    inputs: Sequence[Tensor],
    whole: Sequence[Tensor],
    n: int,
    finest: int,
) -> float:
    """E(n)."""
    k = finest // n
    assert k * n == finest
    here = outputs(
        module, [taken(x, p.space, k) for x, p in zip(inputs, graph.inputs, strict=True)]
    )
    wanted = [taken(x, p.space, k) for x, p in zip(whole, graph.outputs, strict=True)]
    gaps = [float((a - b).norm() / b.norm()) for a, b in zip(here, wanted, strict=True)]
    return max(gaps)


def outputs(module: OperatorModule, inputs: Sequence[Tensor]) -> list[Tensor]:
    """In the order of the program."""
    found = module(*inputs)
    return [found] if isinstance(found, Tensor) else list(found.values())


def taken(x: Tensor, space, k: int) -> Tensor:
    """Every k-th point on each axis; on axes with both ends, both stay."""
    axes = space.domain.dims
    return x[(..., *(slice(None, None, k),) * axes)]


def smooth(space, spacings: int) -> Tensor:
    """A random function, (1, channels, *grid), float64: amplitudes |k|^-DECAY, standard deviation 1.

    On an axis with both ends it is a piece, 0.7 of the length, of a periodic one, so that its ends
    differ.
    """
    periodic = space.domain.periodic
    points = tuple(spacings if p else spacings + 1 for p in periodic)
    return periodic_field(space.channels, points, periodic)


def periodic_field(channels: int, points: Sizes, periodic: Sequence[bool]) -> Tensor:
    """The sum over all k that the grid holds."""
    axes, modes = len(points), (min(points) - 1) // 2
    k = torch.stack(torch.meshgrid(*(torch.arange(-modes, modes + 1.0),) * axes, indexing="ij"))
    size = k.double().square().sum(0).sqrt().clamp(min=1.0)
    noise = torch.randn(channels, *size.shape, 2, dtype=torch.float64)
    z = torch.view_as_complex(noise) * size**-DECAY
    for axis, (n, closed) in enumerate(zip(points, periodic, strict=True), start=1):
        x = torch.arange(n, dtype=torch.float64) / (n if closed else (n - 1) / 0.7)
        waves = torch.exp(2j * torch.pi * x[:, None] * torch.arange(-modes, modes + 1.0))
        z = torch.tensordot(z, waves.to(z.dtype), ([1], [1]))
        assert z.shape[-1] == n, axis
    found = z.real
    return (found / found.std(dim=tuple(range(1, axes + 1)), keepdim=True))[None]
