"""Gathering of function values by point indices."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.diagnostics import fault


class Pull(nn.Module):
    """w_i = v[n_i]; no gradient goes to the indices n."""

    def forward(self, x: Tensor, numbers: Tensor) -> Tensor:
        """(batch or 1, *grid, c), (batch or 1, *points, 1) -> (batch, *points, c).

        Raises:
            OpError: OP0911, a point index is out of range, or its dtype cannot represent it.
        """
        values = x.flatten(1, -2)
        result = numbers.detach().flatten(1).round()
        if not torch.compiler.is_compiling():  # a tracer has no values to check
            _check(result, values.shape[1])
        batch = max(len(values), len(result))
        index = result.long().expand(batch, -1)[..., None].expand(-1, -1, x.shape[-1])
        values_at = values.expand(batch, -1, -1).gather(1, index)
        return values_at.reshape(batch, *numbers.shape[1:-1], x.shape[-1])


def _check(numbers: Tensor, points: int) -> None:
    """Raise OP0911 for indices that are NaN or out of range, and for dtypes that round them."""
    exact = round(2 / torch.finfo(numbers.dtype).eps)
    if points > exact:
        raise fault(
            "OP0911",
            f"{numbers.dtype} holds whole numbers up to {exact}, and there are {points} points",
            helps=("keep the inputs in float32: `precision = bf16` leaves them so",),
            file="pull",
        )
    count = int((~((numbers >= 0) & (numbers < points))).sum())
    if count:
        raise fault(
            "OP0911",
            f"{count} of {numbers.numel()} numbers are of no point: there are {points}",
            notes=(f"points are numbered 0 to {points - 1}, the last axis running fastest",),
            helps=(
                "give numbers that were made for this grid",
                "where they come from data, train with `normalise { inputs = none }`",
            ),
            file="pull",
        )
