"""The block `pad`: a function on a larger grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from opdsl.blocks.domain._extension import BetweenExtensions
from opdsl.ir.ends import AxisBehaviour, Behaviour, End, Seam
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


class Pad(BetweenExtensions):
    """w = v on its domain, and a continuation of v on the points that the extension `to` adds.

    v : D -> R^n gives w : extend(D, ...) -> R^n, and complex functions likewise. An extension is
    periodic, so that Fourier layers can act there on a function that is not periodic. The kind of
    the extension chooses the continuation: zeros, with jumps at the ends; `kind = legendre`, one
    polynomial through the last and the first points; `kind = gram`, two polynomials, one from each
    end, that fade into each other. Both polynomials use four points at each end, a quarter of the
    added length apart, so they are one operator for all resolutions at which this is a whole number
    of points.

    ```op
    edition 2026

    from std.fourier import FourierLayer

    model Continued {
      domain D = grid(x: 0..1, min = 32)
      domain E = extend(D, fraction = 1/4)
      input v : D -> R^3
      output w : D -> R^3

      w = v |> pad(to = E) |> FourierLayer(modes = 8) |> crop(to = D)
    }
    ```

    Attributes:
        to: an extension of the domain of v, such as `extend(D, fraction = 1/4, kind = legendre)`.

    Source: Li et al. 2021, arXiv:2010.08895, section 5 (zeros around domains without period);
        Fourier continuation: Lyon and Bruno 2010, doi:10.1016/j.jcp.2009.11.020; Maust et al. 2022,
        arXiv:2211.15960. There the points are neighbours, and the continuation is sharper and
        shorter on finer grids.
    """

    outward: ClassVar[bool] = True
    samples = (
        {"inputs": (3,), "to": "E"},
        {"inputs": (3,), "to": "L"},
        {"inputs": (3,), "to": "G"},
    )

    to: Domain = Field(description="the extension")

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return a jump where zeros meet a function that does not vanish, else a kink."""
        axes = []
        for at, step in zip(inputs[0].axes, self._steps(x), strict=True):
            if step is None:
                axes.append(at)
                continue
            kink = step.kind != "zero" or End.VANISHES in at.lower & at.upper
            seam = Seam.KINK if kink else Seam.JUMP
            axes.append(AxisBehaviour(End.NOTHING, End.NOTHING, seam))
        return Behaviour(tuple(axes), inputs[0].smoothness)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.grid.pad.pad`."""
        from opdsl.nn.grid import pad
        from opdsl.nn.spectral import continuation

        step = next(y for y in self._steps(x) if y)
        if step.kind == "zero":
            return pad.Pad(step.sides)
        return continuation.FourierContinuation(step.kind, step.sides)
