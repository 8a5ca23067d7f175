"""The block `select`: some channels of a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeInt

from opdsl.diagnostics import did_you_mean
from opdsl.ir.block import Block, Cost, Refusal, copy_cost
from opdsl.ir.combine_rules import count
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Select(Block):
    """w = (v_i, v_j, ...): some channels of v; written `v[ux]`, `v[0]`, `v[2..4]`.

    v : D -> R^n gives w : D -> R^(number of channels) on any domain D, and complex functions
    likewise. The channels keep their names unless one is chosen twice.

    ```op
    edition 2026

    model Parts {
      domain D = grid(x: 0..1, min = 16)
      input v : D -> R^{ux, uy, p}
      output w : D -> R^2

      w = concat(v[p], v[0])
    }
    ```

    Attributes:
        channels: names, or numbers from 0, in the order of the result.

    Source: nothing to cite.
    """

    complex = True
    ragged = "pointwise"
    samples = (
        {"inputs": (3,), "channels": (2, 0)},
        {"inputs": ("R^4",), "channels": (1,)},
    )

    channels: tuple[NonNegativeInt | str, ...] = Field(
        min_length=1, description="which channels, by name or by number from 0"
    )

    def infer(self, x: Space) -> Space:
        """Return the domain with the chosen channels and their names."""
        numbers = self._numbers(x)
        names = x.components
        labels = tuple(names[i] for i in numbers) if names else None
        distinct = labels if labels and len(set(labels)) == len(labels) else None
        return x.model_copy(update={"channels": len(numbers), "components": distinct})

    def _numbers(self, x: Space) -> tuple[int, ...]:
        return tuple(self._number(y, x) for y in self.channels)

    def _number(self, channel: int | str, x: Space) -> int:
        names = x.components or ()
        if isinstance(channel, str):
            if channel in names:
                return names.index(channel)
            raise Refusal(
                "OP0303",
                f"there is no component `{channel}`",
                f"`{x}` has {', '.join(names)}"
                if names
                else f"the channels of `{x}` have no names",
                at="channels",
                helps=did_you_mean(channel, names),
            )
        if channel >= x.channels:
            raise Refusal(
                "OP0303",
                f"there is no channel {channel}",
                f"`{x}` has {count(x.channels)}, the first is 0",
                at="channels",
            )
        return channel

    def band_preserving(self) -> bool:
        """Return True: it is linear and acts on every point alike."""
        return True

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the facts about v."""
        return inputs[0]

    def cost(self, x: Space) -> Cost:
        """Count a copy."""
        return copy_cost(self.infer(x).numbers())

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.arithmetic.Select`."""
        from opdsl.nn.layers import arithmetic

        return arithmetic.Select(self._numbers(x))
