"""The block `mlp`: a small network at every point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from opdsl.blocks.pointwise.apply import SMOOTHNESS, TRANSCENDENTAL, ActivationName
from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Mlp(Block):
    """w(x) = W_n sigma(... sigma(W_1 v(x) + b_1) ...) + b_n, with one network for all points.

    v : D -> R^m gives w : D -> R^(last of `widths`) on any domain D; on a vector it is an ordinary
    perceptron. The last layer has no activation. It acts at each point alone and converges under
    refinement.

    ```op
    edition 2026

    model Code {
      input nu : R^1
      output w : R^16

      w = nu |> mlp(widths = [64, 16])
    }
    ```

    Attributes:
        widths: number of channels of each layer's result, that of the block last.
        act: activation between the layers, see `apply`.

    Source: Lu et al. 2021, arXiv:1910.03193 (the nets of DeepONet).
    """

    ragged = "pointwise"
    samples = (
        {"inputs": (3,), "widths": (4, 2)},
        {"inputs": ("R^2",), "widths": (5,), "act": "tanh"},
    )

    widths: tuple[PositiveCount, ...] = Field(
        min_length=1, description="channels behind each layer"
    )
    act: ActivationName = Field(default="gelu", description="between the layers")

    def infer(self, x: Space) -> Space:
        """Return the domain with the last of `widths` as channels."""
        return x.with_channels(self.widths[-1])

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return v's facts that constants leave, with the kinks of the activation."""
        smoothness = SMOOTHNESS.get(self.act, ends.SMOOTH) if len(self.widths) > 1 else ends.SMOOTH
        return ends.smooth_values(inputs, smoothness)

    def cost(self, x: Space) -> Cost:
        """Count a matrix and a bias for each layer."""
        pairs = list(zip((x.channels, *self.widths), self.widths, strict=False))
        params = sum(a * b + b for a, b in pairs)
        bent = TRANSCENDENTAL * sum(self.widths[:-1])
        volume = x.domain.volume()
        flops = volume * (sum(2 * a * b + b for a, b in pairs) + bent)
        return Cost(decided(params), flops, volume * (self.widths[-1] * BYTES))

    def saved_per_point(self, _x: Space) -> int:
        """Count the hidden layers before and after their activations."""
        return 2 * sum(map(decided, self.widths[:-1]))

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.modulate.Mlp`."""
        from opdsl.nn.layers import modulate

        return modulate.Mlp((decided(x.channels), *map(decided, self.widths)), self.act)
