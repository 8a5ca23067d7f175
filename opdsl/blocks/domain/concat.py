"""The block `concat`: functions side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir import ends
from opdsl.ir.block import Block, Cost, copy_cost
from opdsl.ir.combine_rules import same_domain, same_field
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Concat(Block):
    """w(x) = (u(x), v(x), ...): the channels of all functions, in the order of the arguments.

    u : D -> R^m, v : D -> R^n, ... give w : D -> R^(m + n + ...) on any one domain D; all are real
    or all complex. The names of channels stay if every channel has one and no name occurs twice.

    ```op
    edition 2026

    model Located {
      domain D = grid(x: 0..1, y: 0..1, min = 16)
      input a : D -> R^3
      output w : D -> R^5

      w = concat(a, coords(D))
    }
    ```

    Source: Li et al. 2021, arXiv:2010.08895, section 5 (a and the coordinates as input).
    """

    complex = True
    ragged = "pointwise"
    samples = (
        {"inputs": (3, 2)},
        {"inputs": (1,)},
        {"inputs": (1, 2, 3)},
    )

    def infer(self, first: Space, *more: Space) -> Space:
        """Return the common domain with the sum of the channels."""
        x = (first, *more)
        same_domain("concatenate", x)
        same_field("concatenate", x)
        channels = sum(y.channels for y in x)
        return first.with_channels(channels).model_copy(update={"components": _names(x)})

    def band_preserving(self) -> bool:
        """Return True: it is linear and acts on every point alike."""
        return True

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], *_x: Space) -> Behaviour:
        """Return what all functions have in common."""
        return ends.join(*inputs)

    def cost(self, *x: Space) -> Cost:
        """Count a copy."""
        return copy_cost(self.infer(*x).numbers())

    def lower(self, *_x: Space) -> nn.Module:
        """See `opdsl.nn.grid.concat.concat`."""
        from opdsl.nn.grid import concat

        return concat.Concat()


def _names(x: tuple[Space, ...]) -> tuple[str, ...] | None:
    if any(y.components is None for y in x):
        return None
    names = tuple(name for y in x for name in y.components or ())
    return names if len(set(names)) == len(names) else None
