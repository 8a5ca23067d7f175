"""Derivatives at points by automatic differentiation through the coordinates of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdsl.diagnostics import fault
from opdsl.nn.points.batch import count_samples
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.train.engine.loader import Batch
from opdsl.train.metrics.norms import wide
from opdsl.train.physics.calculus import components, vectors


@dataclass(frozen=True, slots=True)
class PointCalculus:
    """Derivatives of outputs with respect to the coordinates of their own points.

    The output at a point must depend on the coordinates of no other point of its domain, as in a
    DeepONet or an integral operator whose outputs are queries. A block between points of the
    domain (attention, messages) would add the effect of moving the others.

    Attributes:
        coordinates: (n, d) of each sample, leaves that require gradients, as `differentiable`
            makes them.
        weights: quadrature weights, (batch or 1, 1, n) or packed (1, 1, total); None: equal ones.
        packed: whether functions are (1, channels, points of all samples).
    """

    coordinates: tuple[Tensor, ...]
    weights: Tensor | None = None
    packed: bool = False

    @property
    def dims(self) -> int:
        """The number of coordinates."""
        return self.coordinates[0].shape[1]

    def d(self, u: Tensor, axis: int, times: int = 1) -> Tensor:
        """Return the derivative by one coordinate, shaped as `u` (batch, channels, n).

        Raises:
            OpError: OP0721, the function does not depend on the coordinates of its points.
        """
        for _ in range(times):
            u = self._gradients(u)[..., axis]
        return u

    def grad(self, u: Tensor) -> Tensor:
        """Return the gradient of each channel, (batch, channels * d, n)."""
        return vectors(list(self._gradients(u).unbind(-1)))

    def div(self, v: Tensor) -> Tensor:
        """Return the divergence, (batch, channels * d, n) to (batch, channels, n)."""
        parts = [self.d(x, axis) for axis, x in enumerate(components(v, self.dims))]
        return torch.stack(parts).sum(0)

    def curl(self, v: Tensor) -> Tensor:
        """Return the curl: d_0 v_1 - d_1 v_0 in two dimensions, three components in three."""
        if self.dims not in {2, 3}:
            raise fault("OP0720", f"`curl` needs two or three axes; points have {self.dims}")
        v_of = components(v, self.dims)
        if self.dims == 2:
            return self.d(v_of[1], 0) - self.d(v_of[0], 1)
        pairs = ((1, 2), (2, 0), (0, 1))
        return vectors([self.d(v_of[b], a) - self.d(v_of[a], b) for a, b in pairs])

    def laplace(self, u: Tensor) -> Tensor:
        """Return the sum of the second derivatives of each channel, shaped as `u`."""
        return self.div(self.grad(u))

    def diffusion(self, a: Tensor, u: Tensor) -> Tensor:
        """Refuse: a function that is data has no derivative at points, and no conservative form.

        Raises:
            OpError: OP0720.
        """
        del a, u
        raise fault("OP0720", "`diffusion` needs a grid or a sphere; the function is on points")

    def velocity(self, w: Tensor) -> Tensor:
        """Refuse: points have no Poisson solver.

        Raises:
            OpError: OP0720.
        """
        del w
        raise fault("OP0720", "`velocity` needs a periodic plane or a sphere; points are neither")

    def mean(self, u: Tensor) -> Tensor:
        """Return the mean of each channel by the quadrature weights, (batch, channels)."""
        u = wide(u)
        weights = u.new_ones(1, 1, u.shape[-1]) if self.weights is None else wide(self.weights)
        if not self.packed:
            return (u * weights).sum(-1) / weights.sum(-1)
        sizes = [len(x) for x in self.coordinates]
        pairs = zip(torch.split(u, sizes, -1), torch.split(weights, sizes, -1), strict=True)
        return torch.cat([(x * w).sum(-1) / w.sum(-1) for x, w in pairs])

    def integrate(self, u: Tensor) -> Tensor:
        """Return the integral of each channel, (batch, channels); a mean without weights."""
        if self.weights is None:
            return self.mean(u)
        u, weights = wide(u), wide(self.weights)
        if not self.packed:
            return (u * weights).sum(-1)
        sizes = [len(x) for x in self.coordinates]
        return torch.cat([x.sum(-1) for x in torch.split(u * weights, sizes, -1)])

    def _gradients(self, u: Tensor) -> Tensor:
        """Return the derivatives by all coordinates, (batch, channels, n, d)."""
        return torch.stack([self._gradient(x) for x in u.unbind(1)], 1)

    def _gradient(self, u: Tensor) -> Tensor:
        parts = (
            torch.autograd.grad(u.sum(), self.coordinates, create_graph=True, allow_unused=True)
            if u.requires_grad
            else (None,)
        )
        used = [x for x in parts if x is not None]
        if len(used) < len(self.coordinates):
            message = "a derivative of a function that does not depend on the coordinates"
            helps = ("let the output depend on `coords(...)` of its domain",)
            raise fault("OP0721", message, helps=helps)
        return torch.cat(used)[None] if self.packed else torch.stack(used)


def differentiable(batch: Batch, domains: frozenset[str]) -> Batch:
    """Return a batch whose points are leaves of the gradient, in some domains.

    Every sample gets coordinates of its own, so that their derivatives are kept apart.

    Args:
        batch: of any points.
        domains: the domains of the outputs of which derivatives are taken.
    """
    count = count_samples(batch.inputs, batch.places)
    places: Mapping[str, Geometries] = {
        k: tuple(_leaf(x) for x in _each(geometries, count)) if k in domains else geometries
        for k, geometries in batch.places.items()
    }
    return replace(batch, places=places)


def _each(geometries: Geometries, count: int) -> Geometries:
    return geometries * count if len(geometries) == 1 else geometries


def _leaf(geometry: Geometry) -> Geometry:
    """Copy a geometry with coordinates that require a gradient; its digest stays."""
    points = geometry.points.detach().clone().requires_grad_()
    copy = replace(geometry, points=points)
    vars(copy).update({k: vars(geometry)[k] for k in ("key", "measure_key") if k in vars(geometry)})
    return copy
