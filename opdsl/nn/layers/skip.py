"""Skip connections: (batch, *grid, in) -> (batch, *grid, out)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from opdsl.nn.layers.pointwise import ComplexLinear


def Skip(  # noqa: N802  makes a module
    kind: str, in_channels: int, out_channels: int, *, real: bool = True
) -> nn.Module:
    """The skip connection `kind`, a key of `SKIPS`, of real or complex functions.

    Raises:
        ValueError: `identity` and `soft` keep the channels, and these differ.
    """
    if kind != "linear" and in_channels != out_channels:
        raise ValueError(f"a skip `{kind}` keeps {in_channels} channels, not {out_channels}")
    if kind == "linear" and not real:
        return ComplexLinear(in_channels, out_channels, bias=False)
    return SKIPS[kind](in_channels, out_channels)


class Gate(nn.Module):
    """w * x with one number for each channel, which begins as one.

    Attributes:
        weight: w, (c,).

    Source: Kossaifi et al. 2023, arXiv:2310.00120, sec. 3 (soft gating).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, (batch, *grid, c), times the gate."""
        return x * self.weight.to(x.dtype)


SKIPS: dict[str, Callable[[int, int], nn.Module]] = {
    "identity": lambda _in, _out: nn.Identity(),
    "linear": lambda inward, outward: nn.Linear(inward, outward, bias=False),
    "soft": lambda channels, _: Gate(channels),
}
