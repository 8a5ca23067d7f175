"""The bound that a stencil of `kernel` points on each axis puts on a grid."""

from __future__ import annotations

from opdsl.ir.block import Bound
from opdsl.ir.spaces import Domain


def stencil_bounds(domain: Domain, kernel: int) -> tuple[Bound, ...]:
    """Bound the points on each axis from below: the stencil must not be wider than the grid."""
    return tuple(
        Bound(
            domain,
            axis,
            kernel,
            keeps=f"a stencil of {kernel} points",
            note=f"the stencil covers {kernel} points",
            cure=lambda n: f"kernel = {n - 1 + n % 2}",
            what="stencil points",
        )
        for axis in range(domain.dims)
    )
