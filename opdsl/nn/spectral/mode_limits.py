"""The modes of all spectral layers of a module: their limit, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from opdsl.nn.capabilities import HasGradientByMode, LimitsModes


def greatest_modes(root: nn.Module) -> int:
    """Return the greatest frequency for which a layer has weights; 0 if there is no layer."""
    return max((m for x in _layers(root) for m in x.modes), default=0)


def limit_modes(root: nn.Module, modes: int | Sequence[int] | None) -> None:
    """Limit the modes of every layer; None: all modes again.

    Args:
        root: whose layers.
        modes: the greatest frequency, one number for all axes or one for each.

    Raises:
        ValueError: there are not as many numbers as axes.
    """
    for x in _layers(root):
        limits = (modes,) * len(x.modes) if isinstance(modes, int) else modes
        x.limit(None if limits is None else tuple(limits))


def gradient_by_mode(root: nn.Module) -> Tensor | None:
    """Sum the squared gradients of all layers by mode.

    Returns:
        (greatest mode + 1,) in float64 on the CPU; None if there is no layer with modes, or the
        weights of one are products of factors.
    """
    layers, size = list(_layers(root)), greatest_modes(root) + 1
    parts = [x.gradient_by_mode() for x in layers if isinstance(x, HasGradientByMode)]
    known = [x for x in parts if x is not None]
    if not known or len(known) < len(layers):
        return None
    return torch.stack([nn.functional.pad(x, (0, size - len(x))) for x in known]).sum(0)


def _layers(root: nn.Module) -> Iterator[LimitsModes]:
    return (x for x in root.modules() if isinstance(x, LimitsModes))
