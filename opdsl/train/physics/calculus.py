"""The interface of derivatives and integrals, which each kind of domain implements.

Functions are (batch, channels, *domain) in physical units, and so are lengths. Vector fields are
channel-major: channel `c * dims + a` is component `a` of vector `c`.
"""

from typing import Literal, Protocol

import torch
from torch import Tensor

DerivativeOrder = int | Literal["spectral"] | None


class Calculus(Protocol):
    """Derivatives and integrals of functions on one domain.

    All operators are differentiable with respect to the function, and compute in float32, or in
    float64 if the function is.
    """

    @property
    def dims(self) -> int:
        """The number of axes, which is the number of components of a gradient."""
        ...

    def d(self, u: Tensor, axis: int, times: int = 1) -> Tensor:
        """Return the derivative along an axis, shaped as `u`.

        Args:
            u: (batch, channels, *domain).
            axis: from 0, in the order of the domain's axes.
            times: 1 or more, of the derivative.

        Raises:
            OpError: OP0720, the domain has no such derivative.
        """
        ...

    def grad(self, u: Tensor) -> Tensor:
        """Return the gradient of each channel, (batch, channels * dims, *domain)."""
        ...

    def div(self, v: Tensor) -> Tensor:
        """Return the divergence of vectors, (batch, channels, *domain)."""
        ...

    def curl(self, v: Tensor) -> Tensor:
        """Return the curl of vectors: one channel in two dimensions, three in three.

        Raises:
            OpError: OP0720, the domain has neither two nor three axes.
        """
        ...

    def laplace(self, u: Tensor) -> Tensor:
        """Return the sum of the second derivatives of each channel, shaped as `u`."""
        ...

    def diffusion(self, a: Tensor, u: Tensor) -> Tensor:
        """Return div(a grad u), shaped as `u`, in a conservative form that lets `a` jump.

        Args:
            a: (batch, 1 or channels, *domain), positive.
            u: (batch, channels, *domain).
        """
        ...

    def velocity(self, w: Tensor) -> Tensor:
        """Return the velocity without divergence and mean whose curl is the vorticity `w`.

        Args:
            w: (batch, channels, *domain); its mean has no effect.

        Returns:
            (batch, channels * 2, *domain).

        Raises:
            OpError: OP0720, the domain is neither a periodic plane nor a sphere.
        """
        ...

    def mean(self, u: Tensor) -> Tensor:
        """Return the mean of each channel over the domain by quadrature, (batch, channels)."""
        ...

    def integrate(self, u: Tensor) -> Tensor:
        """Return the integral of each channel over the domain, (batch, channels)."""
        ...


def components(v: Tensor, dims: int) -> tuple[Tensor, ...]:
    """Split channel-major vectors into their components, each (batch, channels, *domain)."""
    return v.reshape(len(v), -1, dims, *v.shape[2:]).unbind(2)


def vectors(parts: list[Tensor]) -> Tensor:
    """Join components to channel-major vectors, the inverse of `components`."""
    return torch.stack(parts, 2).flatten(1, 2)
