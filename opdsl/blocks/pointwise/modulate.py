"""The block `modulate`: scaling and shifting by a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from opdsl.ir.block import BYTES, Block, Cost, Refusal
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Modulate(Block):
    """w(x) = v(x) (1 + G c) + B c: every channel is scaled and shifted by what the vector c says.

    G c and B c are linear in c with constants, and zero at the beginning, so that training starts
    from w = v.

    ```op
    edition 2026

    model Told {
      domain D = grid(x: 0..1, min = 8)
      input v : D -> R^8
      input nu : R^1
      output w : D -> R^8

      w = v |> modulate(nu)
    }
    ```

    Source: Perez et al. 2018, arXiv:1709.07871, eq. (1) and (2).
    """

    arity: ClassVar[tuple[int, int | None]] = (2, 2)
    ragged: ClassVar[Literal["each", "pointwise", "own"]] = "own"
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": (3, "R^2")},
        {"inputs": ("R^3", "R^1")},
    )

    def infer(self, *x: Space) -> Space:
        """As many channels on the domain of the function."""
        if x[1].domain.kind != "vector":
            raise Refusal(
                "OP0301",
                "`modulate` takes a function, then a vector",
                f"this is `{x[1]}`",
                at=1,
                helps=(
                    "turn them round: `modulate(v, c)`"
                    if x[0].domain.kind == "vector"
                    else "a function is multiplied point by point: `v * w`",
                ),
            )
        return x[0].with_channels(x[0].channels)

    def reach(self, sizes: tuple[tuple[int, ...], ...], *x: Space) -> tuple[int, ...]:  # noqa: ARG002  the same for every input
        """The vector is the same at every point."""
        return (0,) * len(sizes[-1])

    def cost(self, *x: Space) -> Cost:
        """Two matrices with constants; two operations for each number."""
        params = 2 * x[0].channels * (x[1].channels + 1)
        return Cost(params, x[0].numbers() * 2 + 2 * params, x[0].numbers() * BYTES)

    def lower(self, *x: Space) -> nn.Module:
        """See `opdsl.nn.layers.modulate.Modulate`."""
        from opdsl.nn.layers import modulate

        return modulate.Modulate(x[0].channels, x[1].channels)
