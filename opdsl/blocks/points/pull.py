"""The block `pull`: a function read elsewhere, by the numbers of its points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost, Refusal
from opdsl.ir.combine_rules import count
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Pull(Block):
    """w(x) = v(y_n(x)), where n(x) is the index of the point y that belongs to x.

    v : D -> R^m and n : E -> R^1 give w : E -> R^m. It is the way back from a grid onto which
    points were transported: an encoding states which point each cell of the grid received, and a
    decoding, which is n, where each point has gone. Points of v are numbered from 0, the last axis
    running fastest. The indices belong to the grid of each call, so another grid needs other
    indices; w then converges like interpolation from the nearest point.

    ```op
    edition 2026

    model Carried {
      domain L = grid(u: 0..1, v: 0..1, boundary = periodic, min = 16)
      domain P = points(3, geometry = per_sample)
      input f : L -> R^4
      input ind_dec : P -> R^1
      output w : P -> R^4

      w = pull(f, ind_dec)
    }
    ```

    Source: Li et al. 2025, arXiv:2507.20065, section 3 (OTNO); neuralop/models/otno.py at 93d3f06,
        for one sample at a time.
    """

    samples = (
        {"inputs": (2, "P -> R^1")},
        {"inputs": ("P -> R^3", "Q -> R^1")},
    )

    def infer(self, v: Space, n: Space) -> Space:
        """Return the domain of the indices with the channels of the function."""
        for i, y in enumerate((v, n)):
            if y.domain.kind == "vector":
                message = "`pull` takes a function, then the numbers of its points as a function"
                raise Refusal("OP0301", message, f"this is `{y}`", at=i)
        if n.channels != 1:
            raise Refusal(
                "OP0303",
                f"a point has one number, not {count(n.channels)}",
                f"this is `{n}`",
                at=1,
                helps=("a position on several axes is one number: i * n + j",),
            )
        return v.on(n.domain)

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...], _v: Space, n: Space) -> Behaviour:
        """Return that nothing is known."""
        return ends.unknown(n.domain)

    def cost(self, v: Space, n: Space) -> Cost:
        """Count one read for each index."""
        return Cost(0, n.numbers(), self.infer(v, n).numbers() * BYTES)

    def lower(self, _v: Space, _n: Space) -> nn.Module:
        """See `opdsl.nn.points.pull.Pull`."""
        from opdsl.nn.points import pull

        return pull.Pull()
