"""The block `crop`: a function on a smaller grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from opdsl.blocks.domain._extension import BetweenExtensions
from opdsl.ir import ends
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


class Crop(BetweenExtensions):
    """w = v on the points of `to`, which the domain of v extends; the inverse of `pad`.

    v : extend(D, ...) -> R^n gives w : D -> R^n, and complex functions likewise. An extension is
    periodic, so that Fourier layers can act there on a function that is not periodic; its jump is
    spread over the added points.

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
        to: the domain that the domain of v extends.

    Source: Li et al. 2021, arXiv:2010.08895, section 5 (zeros around domains without period).
    """

    outward: ClassVar[bool] = False
    samples = ({"inputs": ("E -> R^3",), "to": "D"},)

    to: Domain = Field(description="the inner domain")

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return that nothing is known: the breaks of v were at the ends."""
        return Behaviour(ends.unknown(self.to).axes, inputs[0].smoothness)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.grid.pad.crop`."""
        from opdsl.nn.grid import pad

        return pad.Crop(next(y.sides for y in self._steps(x) if y))
