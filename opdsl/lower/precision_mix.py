"""Nodes whose products have dtypes of their own, each under an autocast of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from opdsl.ir.graph import Node
from opdsl.lower.call_arguments import PackedSizes
from opdsl.lower.steps import NodeStep
from opdsl.nn.capabilities import NarrowsSpectrum
from opdsl.nn.layers.grouped import GroupedLayer
from opdsl.precisions import PRECISIONS


class RunnableStep(Protocol):
    """A node that can run: a `NodeStep`, or one of a sharded call."""

    @property
    def node(self) -> Node:
        """The node."""

    def run(self, inputs: Sequence[Tensor], packed: PackedSizes, more: Mapping[str, Any]) -> Tensor:
        """Compute the node's result."""


@dataclass(frozen=True, slots=True)
class PrecisionMix:
    """The dtype of products of each node; None: float32, without autocast.

    Without dtypes all nodes run as the caller's autocast says.
    """

    dtypes: Mapping[str, torch.dtype | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls, steps: Iterable[NodeStep], named: Mapping[str, str], products: torch.dtype | None
    ) -> PrecisionMix:
        """Make the mix of named precisions, and narrow the transforms of the nodes that want it.

        Args:
            steps: all nodes that run.
            named: precisions by the path of the node. Nodes that share weights have that of the
                first.
            products: the dtype of all other nodes.
        """
        if not named:
            return cls()
        dtypes: dict[str, torch.dtype | None] = {}
        for step in steps:
            name = named.get(step.node.shares or step.node.path)
            if name is None:
                dtypes[step.node.path] = products
                continue
            precision = PRECISIONS[name]
            narrow = getattr(torch, precision.products) if precision.products else None
            dtypes[step.node.path] = narrow
            module = step.module
            layer = module.each if isinstance(module, GroupedLayer) else module
            if isinstance(layer, NarrowsSpectrum):
                layer.low_precision = precision.spectral
        return cls(dtypes)

    def __bool__(self) -> bool:
        return bool(self.dtypes)

    def run(
        self,
        step: RunnableStep,
        inputs: Sequence[Tensor],
        packed: PackedSizes,
        more: Mapping[str, Any],
    ) -> Tensor:
        """Compute the result of a node; a node without autocast gets inputs in float32 at least."""
        if not self.dtypes or torch.compiler.is_exporting():
            return step.run(inputs, packed, more)
        dtype = self.dtypes[step.node.path]
        device = (inputs[0] if inputs else more["like"]).device.type
        with torch.autocast(device, dtype, enabled=dtype is not None):
            if dtype is None:
                inputs = [_widened(x) for x in inputs]
            return step.run(inputs, packed, more)


def _widened(x: Tensor) -> Tensor:
    narrow = x.dtype in {torch.bfloat16, torch.float16}
    return x.float() if narrow else x
