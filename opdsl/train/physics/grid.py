"""Derivatives and integrals on grids: by waves, by half-waves, or by finite differences."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from opdsl.bases import Family, Lift, vanishing_interpolant
from opdsl.diagnostics import fault
from opdsl.nn.precision import no_autocast
from opdsl.nn.spectral.half_waves.interpolants import derivative_matrix
from opdsl.nn.spectral.transforms import apply_along_axis
from opdsl.sampling import line_weights, spacings
from opdsl.train.metrics.norms import GridAxes, wide
from opdsl.train.physics.calculus import DerivativeOrder, components, vectors
from opdsl.train.physics.differences import difference

DEFAULT_ORDER = 4  # of differences along axes that are not periodic


@dataclass(frozen=True, slots=True)
class GridCalculus:
    """Derivatives and integrals of functions on equidistant grids.

    Attributes:
        grid: periodicity, lengths, points and conditions of the axes.
        order: None: derivatives of the trigonometric interpolant along periodic axes, and
            differences of order 4 along others. `spectral`: also along axes with ends where the
            declared conditions determine an interpolant (`opdsl.bases`), which is exact for
            functions in that basis only. 2, 4, 6 or 8: differences of that order everywhere,
            one-sided near ends.
        space: the axes of which vectors have components, and over which `laplace` and the others
            sum: all but time. None: all axes.
    """

    grid: GridAxes
    order: DerivativeOrder = None
    space: tuple[int, ...] | None = None

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of vectors."""
        return tuple(range(len(self.grid.periodic))) if self.space is None else self.space

    @property
    def dims(self) -> int:
        """The number of components of a gradient."""
        return len(self.axes)

    def d(self, u: Tensor, axis: int, times: int = 1) -> Tensor:
        """Return the derivative along an axis, shaped as `u` (batch, channels, *grid).

        Raises:
            OpError: OP0720, the axis has too few points for a derivative.
        """
        u, n = wide(u), u.shape[axis + 2]
        self._need_points(axis, n, times)
        length, periodic = self.grid.lengths[axis], self.grid.periodic[axis]
        if periodic and not isinstance(self.order, int):
            return _wave_derivative(u, axis + 2, times, length)
        if self.order == "spectral" and (chosen := self._interpolant(axis)):
            family, lift = chosen
            sampling = self.grid.points[axis]
            matrix = derivative_matrix(family, lift, sampling, n, u.dtype, u.device, times)
            with no_autocast(u):
                return apply_along_axis(u, axis + 2, matrix) / length**times
        order = self.order if isinstance(self.order, int) else DEFAULT_ORDER
        step = self._step(axis, n)
        return difference(u, axis + 2, times=times, order=order, step=step, periodic=periodic)

    def grad(self, u: Tensor) -> Tensor:
        """Return the gradient of each channel, (batch, channels * dims, *grid)."""
        return vectors([self.d(u, axis) for axis in self.axes])

    def div(self, v: Tensor) -> Tensor:
        """Return the divergence, (batch, channels * dims, *grid) to (batch, channels, *grid)."""
        pairs = zip(self.axes, components(v, self.dims), strict=True)
        return torch.stack([self.d(x, axis) for axis, x in pairs]).sum(0)

    def curl(self, v: Tensor) -> Tensor:
        """Return the curl: d_0 v_1 - d_1 v_0 in two dimensions, three components in three."""
        if self.dims not in {2, 3}:
            raise fault("OP0720", f"`curl` needs two or three axes; the domain has {self.dims}")
        v_of, axes = components(v, self.dims), self.axes
        if self.dims == 2:
            return self.d(v_of[1], axes[0]) - self.d(v_of[0], axes[1])
        pairs = ((1, 2), (2, 0), (0, 1))
        return vectors([self.d(v_of[b], axes[a]) - self.d(v_of[a], axes[b]) for a, b in pairs])

    def laplace(self, u: Tensor) -> Tensor:
        """Return the sum of the second derivatives of each channel, shaped as `u`."""
        return torch.stack([self.d(u, axis, 2) for axis in self.axes]).sum(0)

    def diffusion(self, a: Tensor, u: Tensor) -> Tensor:
        """Return div(a grad u) by finite volumes of second order, shaped as `u`.

        The flux between two points takes the harmonic mean of their coefficients, so that it is
        continuous where `a` jumps. At the outermost points of an axis with ends, whose outer flux
        is unknown, the value is extrapolated linearly from the two next to it.

        Args:
            a: (batch, 1 or channels, *grid), positive.
            u: (batch, channels, *grid).

        Raises:
            OpError: OP0720, an axis has fewer than four points.

        Source: Patankar 1980, Numerical Heat Transfer and Fluid Flow, section 4.2-3.
        """
        a, u = wide(a), wide(u)
        return torch.stack([self._flux_divergence(a, u, axis) for axis in self.axes]).sum(0)

    def velocity(self, w: Tensor) -> Tensor:
        """Return the velocity without divergence and mean whose curl is `w`, by waves.

        Args:
            w: (batch, channels, *grid), the vorticity.

        Returns:
            (batch, 2 * channels, *grid).

        Raises:
            OpError: OP0720, space is no periodic plane.
        """
        if self.dims != 2 or not all(self.grid.periodic[axis] for axis in self.axes):
            message = "`velocity` solves for the stream function on a periodic plane or a sphere"
            raise fault("OP0720", message, helps=("let the model predict the velocity too",))
        w = wide(w)
        first, second = (axis + 2 for axis in self.axes)
        n, m = w.shape[first], w.shape[second]
        k = _wave_numbers(torch.fft.fftfreq(n, 1 / n), self.grid.lengths[self.axes[0]], w, first)
        q = _wave_numbers(torch.fft.rfftfreq(m, 1 / m), self.grid.lengths[self.axes[1]], w, second)
        square = k**2 + q**2
        with no_autocast(w):
            stream = torch.fft.rfftn(w, dim=(first, second)) / torch.where(square > 0, square, 1)
            stream = stream * (square > 0)
            parts = (1j * _odd(q, m) * stream, -1j * _odd(k, n) * stream)
            flow = [torch.fft.irfftn(x, s=(n, m), dim=(first, second)) for x in parts]
        return vectors(flow)

    def mean(self, u: Tensor) -> Tensor:
        """Return the mean of each channel by quadrature weights, (batch, channels)."""
        u = wide(u)
        for axis in reversed(range(len(self.grid.periodic))):
            sampling, n = self.grid.points[axis], u.shape[-1]
            weights = line_weights(sampling, n, periodic=self.grid.periodic[axis])
            u = (u * u.new_tensor(weights)).sum(-1)
        return u

    def integrate(self, u: Tensor) -> Tensor:
        """Return the integral of each channel over the domain, (batch, channels)."""
        return self.mean(u) * prod(self.grid.lengths)

    def _step(self, axis: int, n: int) -> float:
        return self.grid.lengths[axis] / spacings(self.grid.points[axis], n)

    def _interpolant(self, axis: int) -> tuple[Family, Lift] | None:
        return vanishing_interpolant(self.grid.conditions[axis], self.grid.points[axis])

    def _need_points(self, axis: int, n: int, times: int) -> None:
        if n <= times and not self.grid.periodic[axis]:
            message = f"a derivative of order {times} along axis {axis}, which has {n} points"
            raise fault("OP0720", message, helps=(f"use at least {times + 1} points",))

    def _flux_divergence(self, a: Tensor, u: Tensor, axis: int) -> Tensor:
        k, n = axis + 2, u.shape[axis + 2]
        self._need_points(axis, n, 3)
        scale = self._step(axis, n) ** -2
        if self.grid.periodic[axis]:
            flux = _harmonic(a, a.roll(-1, k)) * (u.roll(-1, k) - u)
            return (flux - flux.roll(1, k)) * scale
        flux = _harmonic(a.narrow(k, 0, n - 1), a.narrow(k, 1, n - 1)) * u.diff(dim=k)
        inside = flux.diff(dim=k) * scale
        first = 2 * inside.narrow(k, 0, 1) - inside.narrow(k, 1, 1)
        last = 2 * inside.narrow(k, n - 3, 1) - inside.narrow(k, n - 4, 1)
        return torch.cat([first, inside, last], k)


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    return 2 * a * b / (a + b)


def _wave_derivative(u: Tensor, axis: int, times: int, length: float) -> Tensor:
    """Return the derivative of the trigonometric interpolant along an axis.

    The highest frequency of an even number of points has no odd derivative.
    """
    n = u.shape[axis]
    k = torch.arange(n // 2 + 1, dtype=u.dtype, device=u.device) * (2 * torch.pi / length)
    factor = (1, 1j, -1, -1j)[times % 4] * k**times
    if times % 2 and n % 2 == 0:
        factor[-1] = 0
    with no_autocast(u):
        u_hat = torch.fft.rfft(u, dim=axis)
        u_hat = u_hat * factor.reshape(-1, *[1] * (u.dim() - 1 - axis))
        derivative: Tensor = torch.fft.irfft(u_hat, n=n, dim=axis)
    return derivative


def _wave_numbers(k: Tensor, length: float, like: Tensor, axis: int) -> Tensor:
    """Return 2 pi k / length along an axis of `like`, to be broadcast."""
    k = k.to(like.device, like.dtype) * (2 * torch.pi / length)
    return k.reshape(-1, *[1] * (like.dim() - 1 - axis))


def _odd(k: Tensor, n: int) -> Tensor:
    """Set the highest frequency of an even number of points to zero: it has no odd derivative."""
    if n % 2:
        return k
    return torch.where(k.abs() == k.abs().max(), torch.zeros_like(k), k)
