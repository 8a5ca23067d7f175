"""What training asks of samples, and how they reach the device batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from opdsl.train.precision import Policy

Fields = dict[str, Tensor]

RESIDENT = 0.25  # of the free memory of a CUDA device may be filled with samples once and for all


class Samples(Protocol):
    """Inputs and outputs by name, each (samples, channels, *grid) in float32.

    Attributes:
        name: how the metrics call this set.
        fingerprint: changes when the values change.
        resolution: points on each axis.
    """

    @property
    def inputs(self) -> Fields: ...  # noqa: D102  the class says it
    @property
    def outputs(self) -> Fields: ...  # noqa: D102  the class says it
    @property
    def name(self) -> str: ...  # noqa: D102  the class says it
    @property
    def fingerprint(self) -> str: ...  # noqa: D102  the class says it
    @property
    def resolution(self) -> tuple[int, ...]: ...  # noqa: D102  the class says it
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Feed:
    """Samples on their way to the device, in the dtype of the policy.

    Small sets are moved to a CUDA device once; others batch by batch.
    """

    inputs: Fields
    outputs: Fields
    size: int
    policy: Policy

    @classmethod
    def of(cls, samples: Samples, policy: Policy) -> "Feed":
        """The feed of a set, resident on the device where it is small enough."""
        inputs, outputs = dict(samples.inputs), dict(samples.outputs)
        if _fits(inputs | outputs, policy.device):
            inputs = {k: v.to(policy.device) for k, v in inputs.items()}
            outputs = {k: v.to(policy.device) for k, v in outputs.items()}
        return cls(inputs, outputs, len(samples), policy)

    def take(self, rows: Tensor) -> tuple[Fields, Fields]:
        """Inputs and outputs of the samples `rows`, (batch, channels, *grid) on the device."""
        return self._some(self.inputs, rows), self._some(self.outputs, rows)

    def in_order(self, batch: int) -> Iterator[tuple[Fields, Fields]]:
        """All samples once, as they stand."""
        for rows in torch.split(torch.arange(self.size), batch):
            yield self.take(rows)

    def _some(self, fields: Fields, rows: Tensor) -> Fields:
        policy = self.policy
        return {k: policy.place(v.index_select(0, rows.to(v.device))) for k, v in fields.items()}


def _fits(fields: Fields, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(x.nbytes for x in fields.values()) < RESIDENT * free
