"""The block `norm`: a normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from opdsl.ir import ends, orders
from opdsl.ir.block import BYTES, Block, Cost, GridSizes, Refusal
from opdsl.ir.channel_groups import COPIES, one_copy
from opdsl.ir.combine_rules import count
from opdsl.ir.dims import Dim, PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.sharding.rules import Rule, reduction
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


OPERATIONS = 5  # for each number: two sums for the moments, one difference, two to scale


class Norm(Block):
    """w = (v - mean) / sqrt(var + 1e-5) * gamma + beta; `kind` chooses the axes of the mean.

    v : D -> R^n gives w : D -> R^n on any domain D.

    | kind     | mean over                               | trained     |
    |----------|-----------------------------------------|-------------|
    | instance | the grid, for each sample and channel   | nothing     |
    | group    | the grid and a group of channels        | gamma, beta |
    | layer    | the channels, at each point             | gamma, beta |
    | batch    | the batch and the grid, for each channel | gamma, beta |

    A mean over the grid tends to the integral, so every kind converges under refinement. The kind
    `batch` uses running means in evaluation.

    ```op
    edition 2026

    model Even {
      domain D = grid(x: 0..1, y: 0..1, min = 16)
      input v : D -> R^8
      output w : D -> R^8

      w = v |> norm() |> norm(kind = group, groups = 4)
    }
    ```

    Attributes:
        kind: instance, group, layer or batch, see the table.
        groups: for `group`, the number of groups into which the channels are split evenly.
        copies: number of groups into which the channels are split, for functions that contain
            several variables one after the other. Each is normalised by itself with a common gamma
            and beta, and `groups` counts those within one.

    Source: Ulyanov et al. 2016, arXiv:1607.08022; Wu and He 2018, arXiv:1803.08494; Ba et al. 2016,
        arXiv:1607.06450; Ioffe and Szegedy 2015, arXiv:1502.03167.
    """

    ragged = "own"
    samples = (
        {"inputs": (3,)},
        {"inputs": (4,), "kind": "group", "groups": 2},
        {"inputs": (3,), "kind": "group"},
        {"inputs": (3,), "kind": "layer"},
        {"inputs": (3,), "kind": "batch"},
        {"inputs": (8,), "kind": "group", "groups": 2, "copies": 2},
        {"inputs": (6,), "kind": "layer", "copies": 2},
    )

    kind: Literal["instance", "group", "layer", "batch"] = Field(
        default="instance", description="the axes of the mean"
    )
    groups: PositiveInt = Field(default=1, description="groups of channels, for `kind = group`")
    copies: PositiveCount = Field(default=1, description=COPIES)

    def infer(self, x: Space) -> Space:
        """Return the domain with as many channels."""
        self._check_groups(one_copy(x, self.copies).channels)
        return x.with_channels(x.channels)

    def _check_groups(self, channels: Dim) -> None:
        if self.groups > 1 and self.kind != "group":
            raise Refusal(
                "OP0208",
                f"a norm of the kind `{self.kind}` has no groups",
                "only `kind = group` splits the channels",
                at="groups",
                helps=("write `kind = group`, or leave `groups` out",),
            )
        if channels % self.groups:
            raise Refusal(
                "OP0208",
                f"{count(channels)} do not split evenly into {self.groups} groups",
                f"{channels} = {channels // self.groups} * {self.groups} "
                f"+ {channels % self.groups}",
                at="groups",
                helps=(f"take a divisor of {channels}",),
            )

    def receptive_field(self, sizes: GridSizes, _x: Space) -> tuple[int, ...] | None:
        """Return 0 for kinds without a mean over the grid; `batch` has running means."""
        return (0,) * len(sizes[-1]) if self.kind in {"layer", "batch"} else None

    def sharding(self, _axis: int, _sizes: GridSizes, x: Space) -> Rule | None:
        """Sum the two moments of each mean over the grid; `layer` has none."""
        counts = {"instance": x.channels, "group": self.groups * self.copies, "batch": x.channels}
        if self.kind == "layer":
            return None
        return reduction(2 * decided(counts[self.kind]), per_batch=self.kind == "batch")

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return v's facts that a constant leaves, since a mean is subtracted."""
        return ends.add_constant(inputs[0])

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order | None:
        """Return the order of the means; `layer` and, in evaluation, `batch` have none."""
        if self.kind in {"layer", "batch"}:
            return EXACT
        v = inputs[0]
        return orders.mean(x.domain, ends.join(v, orders.squares(v)))

    def cost(self, x: Space) -> Cost:
        """Count two parameters for each channel, unless the kind is `instance`."""
        copy = one_copy(x, self.copies)
        params = 0 if self.kind == "instance" else 2 * copy.channels
        return Cost(decided(params), x.numbers() * OPERATIONS, x.numbers() * BYTES)

    def saved_per_point(self, x: Space) -> int:
        """Count differences from the mean, and the moments of `layer` at each point."""
        c = decided(x.channels)
        several = self.kind == "group" and self.groups > 1
        return {"layer": 2, "batch": 0}.get(self.kind, 2 * c if several else c)

    def uniform(self, inputs: tuple[bool, ...], _x: Space) -> bool:
        """Return whether the input has one value."""
        return all(inputs)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.norm.Norm`."""
        from opdsl.nn.layers import grouped, norm

        c = one_copy(x, self.copies).channels
        if self.copies > 1:
            return grouped.GroupedLayer(norm.Norm, decided(self.copies), self.kind, c, self.groups)
        return norm.Norm(self.kind, decided(c), self.groups)
