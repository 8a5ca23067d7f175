"""Attention between the variables of a system, whose channels are stored variable by variable."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.sphere.sampling import latitudes
from opdsl.sampling import GridSampling, end_weights, samplings_of


class CodomainAttention(nn.Module):
    """w_i = sum_j softmax_j(<q_i, k_j> / (sqrt(d) T)) v_j: each variable attends to all.

    <q, k> is the mean of q . k over the domain, d the channels of a variable of q in one head. The
    layer has no parameters.

    Source: Rahman et al. 2024, arXiv:2403.12553, eq. (4) and (5).
    """

    def __init__(
        self,
        variables: int,
        heads: int,
        temperature: float,
        closed: tuple[bool, ...],
        sampling: str | None = None,
        *,
        adds: bool = False,
        samplings: tuple[GridSampling, ...] | None = None,
    ) -> None:
        """Make the attention for functions on one kind of domain.

        Args:
            variables: number of functions.
            heads: number of parts that the channels of a variable are split into.
            temperature: T.
            closed: for each axis of q and k, whether it is periodic, so that all points weigh the
                same.
            sampling: of a sphere, where its latitudes are.
            adds: whether <q, k> is the sum over the N points divided by sqrt(N), not the mean.
            samplings: where the points of each axis are; None: at both ends of axes that are not
                periodic.
        """
        super().__init__()
        self.variables, self.heads, self.temperature = variables, heads, temperature
        self.closed, self.sampling, self.adds = closed, sampling, adds
        self.samplings = samplings_of(closed, samplings)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(batch, *grid, variables heads d) twice, v (batch, *other, c) -> (batch, *other, c)."""
        batch = max(x.shape[0] for x in (q, k, v))  # what depends on no input has a batch of one
        with no_autocast(v):
            queries = self._functions(self._weighed(q.to(wide(q))), batch)
            values = self._functions(v.to(wide(v)), batch)
            scores = queries @ self._functions(k.to(wide(k)), batch).transpose(-1, -2)
            result = torch.softmax(scores * self._scale(q), -1) @ values
            return self._channels(result, v).to(v.dtype)

    def _scale(self, q: Tensor) -> float:
        d = q.shape[-1] // (self.variables * self.heads)
        points = math.prod(q.shape[1:-1]) if self.adds else 1
        return math.sqrt(points / d) / self.temperature

    def _functions(self, x: Tensor, batch: int) -> Tensor:
        """Reshape (batch, *grid, c) -> (batch, heads, variables, points times channels)."""
        points = x.flatten(1, -2) if x.ndim > 2 else x[:, None]
        variables = points.reshape(x.shape[0], points.shape[1], self.variables, self.heads, -1)
        return variables.permute(0, 3, 2, 1, 4).flatten(3).expand(batch, -1, -1, -1)

    def _channels(self, x: Tensor, like: Tensor) -> Tensor:
        """Undo `_functions`, on the domain of `like`."""
        variables = x.unflatten(-1, (math.prod(like.shape[1:-1]), -1))  # type: ignore[no-untyped-call]  # torch has no types there
        result: Tensor = variables.permute(0, 3, 2, 1, 4)
        return result.reshape(x.shape[0], *like.shape[1:])

    def _weighed(self, q: Tensor) -> Tensor:
        """Multiply q by the quadrature weights of its points."""
        for axis, n in enumerate(q.shape[1:-1]):
            lat = self.sampling is not None and axis == 0
            weights = self._latitudes(n) if lat else self._weights(n, axis)
            q = q * weights.to(q).reshape(-1, *(1,) * (q.ndim - 2 - axis))
        return q

    def _latitudes(self, n: int) -> Tensor:
        assert self.sampling is not None
        _, weights = latitudes(n, self.sampling)
        return weights / weights.sum()

    def _weights(self, n: int, axis: int) -> Tensor:
        """Return the weights of n points in a mean over an axis of a grid."""
        weights = torch.ones(n, dtype=torch.float64, device="cpu")
        if n > 1:
            ends = end_weights(self.samplings[axis], periodic=self.closed[axis])
            weights[0], weights[-1] = ends
        return weights / weights.sum()

    def extra_repr(self) -> str:
        """Describe the arguments of the constructor."""
        return f"{self.variables}, heads={self.heads}, temperature={self.temperature}"
