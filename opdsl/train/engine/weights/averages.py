"""Means of the weights over steps (EMA) or ends of epochs (SWA), and their use in evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import floor
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from opdsl.train.config.optimization import Average


@dataclass(slots=True)
class WeightAverage:
    """The mean of the weights of a module; buffers are those of the module.

    Attributes:
        settings: the section `average`.
        module: whose weights change.
        values: the mean by name; empty before it begins.
        count: how many weights it is a mean of.
        set_aside: the weights of the module while the mean is in use.

    Source: Polyak and Juditsky 1992 (means over steps); Izmailov et al. 2018, arXiv:1803.05407
    (`swa`). The arithmetic is that of `torch.optim.swa_utils`.
    """

    settings: Average
    module: nn.Module
    values: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0
    set_aside: dict[str, Tensor] = field(default_factory=dict)

    def after_step(self) -> None:
        """Take the weights of a step into an EMA."""
        if self.settings.kind == "ema":
            self._take()

    def after_epoch(self, epoch: int, epochs: int) -> None:
        """Take the weights at the end of an epoch, counted from 0, into an SWA.

        An epoch counts once, also where its end is repeated after an interruption.
        """
        ends = epoch + 1 - floor(self.settings.start * epochs)
        if self.settings.kind == "swa" and self.count < ends:
            self._take()

    @torch.no_grad()
    def _take(self) -> None:
        weights = dict(self.module.named_parameters())
        if not self.count:
            self.values = {k: x.detach().clone() for k, x in weights.items()}
        else:
            ema = self.settings.kind == "ema"
            mean = get_ema_multi_avg_fn(self._decay()) if ema else get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]  # torch leaves them untyped
            current = [weights[k].detach() for k in self.values]
            mean([*self.values.values()], current, torch.tensor(self.count))  # torch divides by it
        self.count += 1

    def _decay(self) -> float:
        """Return the decay of an EMA, which grows: first weights would stay in it for too long."""
        return min(self.settings.decay, (1 + self.count) / (10 + self.count))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Give the module the mean in the block, and its own weights behind it."""
        self.set_aside = self._swap(self.values)
        try:
            yield
        finally:
            self._swap(self.set_aside)
            self.set_aside = {}

    def keep(self) -> None:
        """Give the module the mean for good, at the end of a run."""
        self._swap(self.values)

    @torch.no_grad()
    def _swap(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copy values into the weights, and return those that were there."""
        weights = dict(self.module.named_parameters())
        before = {k: weights[k].detach().clone() for k in values}
        for k, x in values.items():
            weights[k].copy_(x)
        return before

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs; nothing without a mean."""
        return {"values": dict(self.values), "count": self.count} if self.count else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            RuntimeError: it is the mean of other weights.
        """
        self.values, self.count = {}, 0
        if not state:
            return
        weights = dict(self.module.named_parameters())
        if state["values"].keys() != weights.keys():
            raise RuntimeError("the mean is of other weights")
        self.values = {k: torch.empty_like(x).copy_(state["values"][k]) for k, x in weights.items()}
        self.count = int(state["count"])
