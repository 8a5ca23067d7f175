"""One operator for each of several groups of channels, all with the same weights.

The channels of v = (v_1, ..., v_n) are n groups of equal size, one after the other. A block infers
its result and its cost for one group, and multiplies by n.
"""

from __future__ import annotations

from opdsl.ir.block import Cost, Refusal
from opdsl.ir.combine_rules import count
from opdsl.ir.dims import Dim, decided
from opdsl.ir.spaces import Space

COPIES = "into how many groups the channels are split, on each of which the same weights act"


def one_copy(x: Space, copies: Dim, name: str = "copies") -> Space:
    """Return the space of one group of channels; with one group it is the space itself.

    Args:
        x: the space of all groups.
        copies: the number of groups.
        name: the name of that parameter.

    Raises:
        Refusal: OP0303, the channels do not split evenly.
        Undecided: the number of groups is open, as it may be while a definition is checked.
    """
    if copies == 1:
        return x
    groups = decided(copies)
    if x.channels % groups:
        raise Refusal(
            "OP0303",
            f"{count(x.channels)} do not split evenly into {groups} groups",
            f"{x.channels} = {x.channels // groups} * {groups} + {x.channels % groups}",
            at=name,
            helps=(f"take a divisor of {x.channels}",),
        )
    return x.with_channels(x.channels // groups)


def all_copies(cost: Cost, copies: Dim) -> Cost:
    """Return the cost of all groups: the weights count once, the work once for each group."""
    return Cost(cost.params, cost.flops * copies, cost.bytes * copies)
