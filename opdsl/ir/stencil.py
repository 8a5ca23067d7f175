"""The bound that a stencil of `kernel` points on each axis puts on a grid."""

from __future__ import annotations

from opdsl.ir.block import Bound, Refusal
from opdsl.ir.spaces import Domain


def check_reflection(domain: Domain, edges: str) -> None:
    """Check that a function can be reflected at the ends of all axes.

    Raises:
        Refusal: OP0322, `edges = reflect` at an end that has neither a point nor a point half a
            spacing away, so that the value there is unknown.
    """
    if edges != "reflect" or not domain.regular:
        return
    axes = zip(domain.axes, domain.samplings, domain.periodic, strict=True)
    for axis, sampling, periodic in axes:
        if periodic or sampling in {"both", "centres"}:
            continue
        raise Refusal(
            "OP0322",
            f"a function on `{axis.name}` cannot be reflected at an end without a point",
            f"`{axis.name}` has the sampling `{sampling}`",
            at="edges",
            notes=("the value at the end, on which the reflection is centred, is unknown",),
            helps=(
                "repeat the outermost value instead: `edges = replicate`",
                "or declare `sampling = both` or `sampling = centres` if the points are there",
            ),
        )


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
