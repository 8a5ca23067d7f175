"""Rollout in time: outputs of the module become inputs of its next step.

Between two steps values are in physical units, because an output and the input that it becomes have
statistics of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from opdsl.diagnostics import fault
from opdsl.nn.points.batch import Values, all_values, concat_channels, map_values
from opdsl.nn.points.packed import Packed
from opdsl.train.engine.loader import FieldValues

GradientPath = Literal["none", "each", "last"]  # values of the setting `pushforward`


@dataclass(frozen=True, slots=True)
class Rollout:
    """Which outputs are fed back as which inputs.

    Attributes:
        feedback: pairs (output, input).
        axes: for each input, the number of axes of its grid. An input with one axis more, behind
            the batch, has a value for each step.
    """

    feedback: tuple[tuple[str, str], ...]
    axes: Mapping[str, int]

    def timed(self, name: str, x: Values) -> bool:
        """Return whether an input has an axis of time: (batch, steps, channels, *grid)."""
        return name in self.axes and all_values(x).dim() == self.axes[name] + 3

    def run(
        self,
        step: Callable[[FieldValues], FieldValues],
        inputs: FieldValues,
        steps: int,
        gradient: GradientPath = "none",
    ) -> FieldValues:
        """Run `steps` steps and stack their outputs, (batch, steps, channels, *grid).

        Args:
            step: inputs of one step to its outputs.
            inputs: of the first step; those with an axis of time for all steps.
            steps: how many.
            gradient: the setting `pushforward`.

        Raises:
            OpError: OP0604, each sample has points of its own.
        """
        timed = {k for k, x in inputs.items() if self.timed(k, x)}
        current = {k: x for k, x in inputs.items() if k not in timed}
        outputs: dict[str, list[Tensor]] = {}
        for i in range(steps):
            without = gradient == "last" and i < steps - 1
            with torch.no_grad() if without else nullcontext():
                result = step(current | {k: all_values(inputs[k])[:, i] for k in timed})
            for name, x in result.items():
                outputs.setdefault(name, []).append(_dense(name, x))
            if gradient == "each":
                result = {k: map_values(x, Tensor.detach) for k, x in result.items()}
            current |= {
                to: shift_window(current[to], result[source]) for source, to in self.feedback
            }
        return {name: torch.stack(x, 1) for name, x in outputs.items()}


def shift_window(old: Values, new: Values) -> Values:
    """Append the new channels to a window over the last steps and drop as many of the oldest."""
    new = map_values(new, lambda x: x.to(all_values(old).dtype))
    return map_values(concat_channels((old, new)), lambda x: x[:, all_values(new).shape[1] :])


def _dense(name: str, x: Values) -> Tensor:
    if isinstance(x, Packed):
        message = f"steps in time of `{name}` on points that each sample has of its own"
        helps = ("they are possible on points that all samples share",)
        raise fault("OP0604", message, helps=helps)
    return x
