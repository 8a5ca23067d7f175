"""The rule of a block: how it is computed where each process has a part of the grid.

`Block.sharding` returns it; the planner (`plan.py`) derives the exchanges, `opdsl.lower.sharded`
runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RuleKind = Literal[
    "replicated",
    "source",
    "local",
    "halo",
    "shift",
    "channels",
    "spectral",
    "analysis",
    "synthesis",
    "reduce",
    "gather",
]
Strategy = Literal["transpose", "partial_sums"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a block is computed on parts of an axis.

    | kind       | computation of a process                                                |
    |------------|-------------------------------------------------------------------------|
    | replicated | the whole result, from whole inputs                                     |
    | source     | the whole result of a block without inputs, cut to its part             |
    | local      | its part of the result, from its parts of the inputs                    |
    | halo       | as `local`, with `points` more points on both sides                     |
    | shift      | its part of the result, whose point i is the point i - before of the    |
    |            | input, zero where there is none                                         |
    | channels   | some channels on the whole grid, between two all-to-alls                |
    | spectral   | some modes, for all channels; see `Strategy`                            |
    | analysis   | all modes, the sum of those of all parts                                |
    | synthesis  | its part of the grid, from all modes                                    |
    | reduce     | as `local`, with `numbers` sums over the grid                           |
    | gather     | as `local`, with `whole` inputs from all processes                      |

    The two strategies of `spectral`: `transpose` transforms the other axes, sends the sharded axis
    whole with some modes of the others to each process, and back. `partial_sums` computes all modes
    of the own points, adds them up by a reduce-scatter, and gathers the products.

    Attributes:
        kind: see the table.
        points: of a halo, on each side.
        before: of a shift: how many points the axis of the result begins before that of the input;
            negative: after it.
        numbers: real numbers of the sums of one sample, or of the batch.
        maximum: whether a maximum is reduced, which all processes gather from each other.
        per_batch: whether `numbers` are of the batch, and summed in training only.
        whole: indices of the inputs that are gathered.
        group: of `channels`: how many neighbouring channels stay together.
        counts: coefficients on each axis, (degrees, orders) on a sphere.
        terms: expansions that are added up.
        width: real numbers of a coefficient: 2 or 1.
        matrix: real numbers by which one coefficient of all channels is multiplied.
        weights: for a part of the coefficients, whether their weights are `stored` as such, or
            must be copied (`own`), or computed for all coefficients (`all`), as from factors.
        strategy: of `spectral`; the planner chooses it, a block leaves it None.
    """

    kind: RuleKind
    points: int = 0
    before: int = 0
    numbers: int = 0
    maximum: bool = False
    per_batch: bool = False
    whole: tuple[int, ...] = ()
    group: int = 1
    counts: tuple[int, ...] = ()
    terms: int = 1
    width: int = 2
    matrix: int = 0
    weights: Literal["stored", "own", "all"] = "stored"
    strategy: Strategy | None = None


REPLICATED, SOURCE, LOCAL = Rule("replicated"), Rule("source"), Rule("local")
CHANNELS, SYNTHESIS = Rule("channels"), Rule("synthesis")


def reduction(numbers: int, *, per_batch: bool = False) -> Rule:
    """Sum `numbers` real numbers of each sample over the grid."""
    return Rule("reduce", numbers=numbers, per_batch=per_batch)
