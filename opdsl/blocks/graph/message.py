"""The block `message`: what points tell each other along the edges of a mesh."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from opdsl.blocks.pointwise.apply import TRANSCENDENTAL, ActivationName
from opdsl.ir.block import BYTES, Block, Cost, Refusal, SideInput
from opdsl.ir.dims import Poly, PositiveCount, decided
from opdsl.ir.spaces import KINDS, Space

if TYPE_CHECKING:
    from torch import nn

EDGES = 6  # assumed to enter each point in `cost`, as in a mesh of triangles
NORM = 8  # operations for each number that is normalised


class Message(Block):
    """e_ij += f(e_ij, v_j, v_i), then v_i += g(v_i, sum over j of e_ij), for each of `steps` steps.

    v : M -> R^n gives w : M -> R^n on a mesh, a graph or points. Each edge from j to i has a
    message e_ij with n channels, which persists from step to step and begins as a network of x_j -
    x_i and its length. f, g and that network are perceptrons that end with a layer norm; each step
    has its own.

    Edges are those of the geometry that each call gives, from their first point to their second;
    without edges, all corners of a cell are joined in both directions. A geometry with neither is
    refused. At a point that no edge enters the sum is zero. Where the domain declares a period, x_j
    - x_i is the shortest difference. There is no limit under refinement, as edges become shorter.

    ```op
    edition 2026

    model Flow {
      domain M = mesh(2, geometry = per_sample)
      input f : M -> R^3
      output w : M -> R^2

      w = f
        |> mlp(widths = [64, 64])
        |> message(steps = 4, hidden = [64])  # op: allow(not-convergent)
        |> mlp(widths = [64, 2])
    }
    ```

    Attributes:
        steps: number of steps, which is the distance in edges that information travels.
        hidden: widths of the hidden layers of each perceptron.
        act: activation between their layers, see `apply`.
        norm: layer or none, the normalisation at the end of each perceptron.
        reduction: sum or mean over the edges that enter a point.

    Source: Pfaff et al. 2021, arXiv:2010.03409, eq. (1) and appendix A.1 (MeshGraphNets).
    """

    ragged = "own"
    kinds = frozenset({"points", "graph", "mesh"})
    samples = (
        {"inputs": ("P -> R^3",), "steps": 2, "hidden": (5,), "act": "tanh"},
        {
            "inputs": ("P -> R^2",),
            "hidden": (4, 3),
            "act": "gelu",
            "norm": "none",
            "reduction": "mean",
        },
    )

    steps: PositiveCount = Field(default=1, description="how often messages are sent")
    hidden: tuple[PositiveCount, ...] = Field(
        default=(128, 128), min_length=1, description="widths of the hidden layers"
    )
    act: ActivationName = Field(default="relu", description="between the layers")
    norm: Literal["layer", "none"] = Field(default="layer", description="behind the layers")
    reduction: Literal["sum", "mean"] = Field(default="sum", description="over the edges")

    def infer(self, x: Space) -> Space:
        """Return the space of v."""
        if not (x.domain.scattered and x.domain.ambient):
            message = "`message` is defined on meshes, graphs and points only"
            raise Refusal("OP0301", message, f"this is {KINDS[x.domain.kind]}", at=0)
        return x

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Return the geometry: coordinates and edges."""
        return (SideInput(x.domain.name, "coordinates", x.domain),)

    def diverges(self, _x: Space) -> str | None:
        """Return the reason: the length of edges tends to zero."""
        return "looks along edges, which get shorter as a mesh is refined"

    def _widths(self, x: Space, seen: int) -> tuple[int, ...]:
        return (seen, *map(decided, self.hidden), decided(x.channels))

    def cost(self, x: Space) -> Cost:
        """Count the perceptrons, those of messages at six edges for each point."""
        c, d = x.channels, x.domain.ambient or 0
        volume = x.domain.volume()
        begin, edge, node = (self._widths(x, decided(n)) for n in (d + 1, 3 * c, 2 * c))
        params = self._params(begin) + self.steps * (self._params(edge) + self._params(node))
        # the first layer of f is linear, so it acts on v at the points, not on each pair
        at_points = volume * (self.steps * 4 * c * self.hidden[0])
        along = self._flops(begin) + self.steps * (self._flops(edge) - 4 * c * self.hidden[0])
        flops: Poly = volume * (EDGES * along + self.steps * self._flops(node)) + at_points
        return Cost(decided(params), flops, x.numbers() * BYTES)

    def _params(self, widths: tuple[int, ...]) -> int:
        norm_params = 2 * widths[-1] if self.norm == "layer" else 0
        return norm_params + sum(a * b + b for a, b in pairwise(widths))

    def _flops(self, widths: tuple[int, ...]) -> int:
        norms = NORM * widths[-1] if self.norm == "layer" else 0
        layers = sum(2 * a * b + b for a, b in pairwise(widths))
        return layers + norms + TRANSCENDENTAL * sum(map(decided, self.hidden)) + 2 * widths[-1]

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.points.message.Message`."""
        from opdsl.nn.points import message

        domain = x.domain
        return message.Message(
            decided(x.channels),
            domain.ambient or 0,
            tuple(map(decided, self.hidden)),
            decided(self.steps),
            act=self.act,
            normed=self.norm == "layer",
            mean=self.reduction == "mean",
            period=domain.period,
        )
