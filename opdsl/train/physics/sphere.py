"""Derivatives and integrals on a sphere by spherical harmonics."""

from dataclasses import dataclass
from math import inf, pi

import torch
from torch import Tensor

from opdsl.diagnostics import OpError, fault
from opdsl.nn.precision import no_autocast
from opdsl.nn.sphere.harmonics import inverse_sht, sht
from opdsl.nn.sphere.sampling import latitudes
from opdsl.nn.sphere.vector import inverse_vector_sht, vector_sht
from opdsl.train.metrics.norms import l2_norm, wide


@dataclass(frozen=True, slots=True)
class SphereCalculus:
    """Derivatives and integrals of functions (batch, channels, latitudes, longitudes).

    The components of a vector point to the south and to the east. Operators are exact for functions
    whose degree the latitudes and longitudes resolve; higher degrees are cut off.

    Attributes:
        sampling: of the latitudes, see `opdsl.nn.sphere.sampling.latitudes`.
        radius: of the sphere, in the unit of length.
    """

    sampling: str
    radius: float = 1.0

    @property
    def dims(self) -> int:
        """The components of a gradient."""
        return 2

    def d(self, u: Tensor, axis: int, times: int = 1) -> Tensor:  # noqa: ARG002  the interface
        """Refuse: coordinates of a sphere are singular at the poles.

        Raises:
            OpError: OP0720.
        """
        raise _no_coordinate()

    def grad(self, u: Tensor) -> Tensor:
        """Return the gradient of each channel, (batch, 2 * channels, latitudes, longitudes)."""
        u = _last(wide(u))
        with no_autocast(u):
            S = sht(u, self.degree(u), self.sampling)
            vectors = inverse_vector_sht(S, torch.zeros_like(S), self._size(u), self.sampling)
        return vectors.flatten(-2).movedim(-1, 1) / self.radius

    def div(self, v: Tensor) -> Tensor:
        """Return the divergence, (batch, 2 * channels, ...) to (batch, channels, ...)."""
        return self._potential(v, 0)

    def curl(self, v: Tensor) -> Tensor:
        """Return the component of the curl along the outer normal, the vorticity of a flow."""
        return self._potential(v, 1)

    def laplace(self, u: Tensor) -> Tensor:
        """Return the Laplace-Beltrami operator of each channel, shaped as `u`."""
        u = _last(wide(u))
        with no_autocast(u):
            spectrum = _laplace(sht(u, self.degree(u), self.sampling))
            result = inverse_sht(spectrum, self._size(u), self.sampling)
        return result.movedim(-1, 1) / self.radius**2

    def diffusion(self, a: Tensor, u: Tensor) -> Tensor:
        """Return div(a grad u) by harmonics, shaped as `u`; `a` should be smooth.

        Args:
            a: (batch, 1 or channels, latitudes, longitudes).
            u: (batch, channels, latitudes, longitudes).
        """
        factors = wide(a).repeat_interleave(2, 1) if a.shape[1] > 1 else wide(a)
        return self.div(factors * self.grad(u))

    def velocity(self, w: Tensor) -> Tensor:
        """Return the velocity without divergence whose curl is `w`, (batch, 2 * channels, ...)."""
        w = _last(wide(w))
        with no_autocast(w):
            spectrum = sht(w, self.degree(w), self.sampling)
            degrees = torch.arange(spectrum.shape[1], device=w.device, dtype=w.dtype)
            T = spectrum / -(degrees * (degrees + 1)).clamp(min=1)[:, None, None]
            T = T * (degrees > 0)[:, None, None]
            flow = inverse_vector_sht(torch.zeros_like(T), T, self._size(w), self.sampling)
        return flow.flatten(-2).movedim(-1, 1) * self.radius

    def mean(self, u: Tensor) -> Tensor:
        """Return the mean of each channel over the sphere, (batch, channels)."""
        weights = latitudes(u.shape[-2], self.sampling)[1].to(u.device, wide(u).dtype) / 2
        return (wide(u).mean(-1) * weights).sum(-1)

    def integrate(self, u: Tensor) -> Tensor:
        """Return the integral of each channel over the sphere, (batch, channels)."""
        return self.mean(u) * (4 * pi * self.radius**2)

    def band_rms(self, u: Tensor, low: int, high: float) -> Tensor:
        """Return the root mean square of the part of u with degrees low <= l < high, (batch,).

        All bands together have the root mean square of u over the sphere, if the points resolve u.
        """
        u = _last(wide(u))
        with no_autocast(u):
            z = sht(u, self.degree(u), self.sampling)[:, low : None if high == inf else int(high)]
            weights = z.real.new_full((z.shape[2], 1), 2.0)  # an order m > 0 stands for -m too
            weights[0] = 1
            parts = torch.view_as_real(z * (weights / (4 * pi * u.shape[-1])).sqrt())
        return l2_norm(parts)

    def degree(self, u: Tensor) -> int:
        """Return the greatest degree that the points of (batch, nlat, nlon, c) resolve."""
        nlat, nlon = self._size(u)
        exact = {"gauss_legendre": nlat - 1, "lobatto": nlat - 2}
        return max(min(exact.get(self.sampling, (nlat - 1) // 2), (nlon - 1) // 2), 0)

    def _potential(self, v: Tensor, which: int) -> Tensor:
        v = _last(wide(v)).unflatten(-1, (-1, 2))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        with no_autocast(v):
            spectrum = vector_sht(v, self.degree(v), self.sampling)[which]
            result = inverse_sht(_laplace(spectrum), self._size(v), self.sampling)
        return result.movedim(-1, 1) / self.radius

    def _size(self, u: Tensor) -> tuple[int, int]:
        return u.shape[1], u.shape[2]


def _last(u: Tensor) -> Tensor:
    return u.movedim(1, -1)


def _laplace(z: Tensor) -> Tensor:
    """Multiply each degree l by -l (l + 1)."""
    degrees = torch.arange(z.shape[1], device=z.device, dtype=z.real.dtype)
    return z * (-degrees * (degrees + 1))[:, None, None]


def _no_coordinate() -> OpError:
    message = "`d` is a derivative along an axis; those of a sphere are singular at the poles"
    return fault("OP0720", message, helps=("use `grad`, `div`, `curl` or `laplace`",))
