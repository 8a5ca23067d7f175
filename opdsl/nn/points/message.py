"""Message passing along the edges of a mesh or a graph.

The edges of all samples form one list.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.layers.modulate import Mlp
from opdsl.nn.layers.pointwise import Linear
from opdsl.nn.points.geometry import Geometries, concat_coordinates, point_counts
from opdsl.nn.points.neighbours.edges import edge_pairs
from opdsl.nn.points.neighbours.pairs import Period, minimum_image
from opdsl.nn.points.neighbours.search import Pairs, batch_pairs
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import RaggedSizes, Size


@dataclass(frozen=True, slots=True)
class PerceptronSettings:
    """Settings that all perceptrons of a processor share.

    Attributes:
        hidden: widths of their hidden layers.
        act: the activation between them.
        normed: whether a layer norm is at their end.
    """

    hidden: Size
    act: str
    normed: bool


class Message(nn.Module):
    """e_ij += f(e_ij, v_j, v_i), then v_i += g(v_i, sum or mean over j of e_ij).

    Args:
        channels: of v and of e.
        dims: coordinates of a point.
        hidden: widths of the hidden layers.
        steps: number of rounds; each has its own f and g.
        act: the activation between layers.
        normed: whether perceptrons end with a layer norm.
        mean: whether the sum of messages is divided by the number of edges.
        period: of the space of the points, for each coordinate.

    Attributes:
        begin: makes e of x_j - x_i and its length.
        tell: f of each step.
        hear: g of each step.

    Source: Pfaff et al. 2021, arXiv:2010.03409, eq. (1) and appendix A.1 (MeshGraphNets).
    """

    def __init__(
        self,
        channels: int,
        dims: int,
        hidden: Size,
        steps: int,
        *,
        act: str = "relu",
        normed: bool = True,
        mean: bool = False,
        period: Period | None = None,
    ) -> None:
        super().__init__()
        self.mean, self.period, self.steps = mean, period, steps
        kind, c = PerceptronSettings(hidden, act, normed), channels
        self.begin = _perceptron((dims + 1, *hidden, c), kind)
        self.tell = nn.ModuleList(EdgeUpdate(c, kind) for _ in range(steps))
        self.hear = nn.ModuleList(_perceptron((2 * c, *hidden, c), kind) for _ in range(steps))

    def forward(self, x: Tensor, asked: tuple[Geometries, ...], ragged: RaggedSizes = ()) -> Tensor:
        """(batch, points, c) -> (batch, points, c); packed points are (1, points, c).

        Args:
            x: v.
            asked: coordinates and edges of the points.
            ragged: the points of each sample, where they are packed.

        Raises:
            OpError: OP0907, a geometry has neither edges nor cells, or an edge is out of range.
        """
        geometries = tuple(g.to(x.device) for g in asked[0])
        packed = bool(ragged) and ragged[0] is not None
        samples = len(geometries) if packed else max(len(x), len(geometries))
        pairs = _batched_edges(geometries, samples)
        nodes = x if packed else x.expand(samples, *x.shape[1:])
        v = nodes.flatten(0, 1)
        e = self.begin(self._between(geometries, samples, pairs, x).to(x.dtype))
        for edge_update, point_update in zip(self.tell, self.hear, strict=True):
            e = e + edge_update(e, v, pairs)
            v = v + point_update(torch.cat((v, self._heard(e, pairs).to(v.dtype)), -1))
        return v.reshape(nodes.shape).to(x.dtype)

    def _between(self, placed: Geometries, samples: int, pairs: Pairs, x: Tensor) -> Tensor:
        """Compute x_j - x_i and its length at each edge, (edges, d + 1)."""
        x_all = concat_coordinates(placed, torch.empty(0, dtype=wide(x), device=x.device))[0]
        x_all = x_all if len(placed) == samples else x_all.repeat(samples, 1)
        step = minimum_image(x_all[pairs.points] - x_all[pairs.queries], self.period)
        return torch.cat((step, torch.linalg.vector_norm(step, dim=-1, keepdim=True)), -1)

    def _heard(self, e: Tensor, pairs: Pairs) -> Tensor:
        """Sum or average over the edges to each point, accumulated in float32 at least."""
        total = e.new_zeros(len(pairs.counts), e.shape[-1], dtype=wide(e))
        total = total.index_add(0, pairs.queries, e.to(total.dtype))
        return total / pairs.counts.clamp(min=1)[:, None] if self.mean else total


class EdgeUpdate(nn.Module):
    """f(e_ij, v_j, v_i); the first layer acts on v at points, before these are paired."""

    def __init__(self, channels: int, kind: PerceptronSettings) -> None:
        super().__init__()
        mlp = _perceptron((3 * channels, *kind.hidden, channels), kind)
        first = mlp[0]
        assert isinstance(first, Linear)
        self.first, self.rest = first, nn.Sequential(OrderedDict([*mlp.named_children()][1:]))

    def forward(self, e: Tensor, v: Tensor, pairs: Pairs) -> Tensor:
        """(edges, c), (points, c) -> (edges, c)."""
        of_edge, of_sender, of_hearer = self.first.weight.chunk(3, 1)
        at_edges = functional.linear(e, of_edge.to(e.dtype), self.first.bias.to(e.dtype))
        at_senders = functional.linear(v, of_sender.to(v.dtype))[pairs.points]
        at_receivers = functional.linear(v, of_hearer.to(v.dtype))[pairs.queries]
        result: Tensor = self.rest(at_edges + at_senders + at_receivers)
        return result


class WideLayerNorm(nn.LayerNorm):
    """Layer norm that is computed in float32 at least."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c) -> (n, c)."""
        with no_autocast(x):
            return super().forward(x.to(wide(x))).to(x.dtype)


def _perceptron(widths: Size, kind: PerceptronSettings) -> nn.Sequential:
    mlp = Mlp(widths, kind.act)
    return nn.Sequential(*mlp, WideLayerNorm(widths[-1])) if kind.normed else mlp


def _batched_edges(placed: Geometries, samples: int) -> Pairs:
    """Concatenate the edges of all samples, with indices into the batch."""
    result, sizes = [edge_pairs(g, allow_isolated=True) for g in placed], point_counts(placed)
    if len(placed) < samples:
        result, sizes = result * samples, sizes * samples
    return batch_pairs(result, sizes, sizes)
