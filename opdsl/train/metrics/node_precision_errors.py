"""The error that each node costs if it alone is computed in a narrow precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from opdsl.train.metrics.precision_errors import relative_distance

NARROW = ("bf16", "bf16_spectral", "fp16", "fp16_spectral")

# computes all outputs, in one vector, with precisions of nodes by their paths
Outputs = Callable[[Mapping[str, str]], Tensor]


@dataclass(frozen=True, slots=True)
class NodePrecisionErrors:
    """The errors of a model one node of which is narrow, and all others in float32.

    Attributes:
        path: of the node.
        errors: relative L2 distance of the outputs from those with all nodes in float32, by
            precision; precisions that the device does not have are left out.
    """

    path: str
    errors: Mapping[str, float] = field(default_factory=dict)


def node_precision_errors(paths: Sequence[str], outputs: Outputs) -> list[NodePrecisionErrors]:
    """Measure what each node costs, in the order of `paths`; nodes that cost nothing are left out.

    Args:
        paths: of the nodes of the model.
        outputs: computes the outputs; all other nodes are in float32.
    """
    truth = outputs(dict.fromkeys(paths, "fp32"))  # with names, since fused nodes round otherwise
    rows = []
    for path in paths:
        errors = {}
        for name in NARROW:
            try:
                errors[name] = relative_distance(outputs({path: name}), truth)
            except (RuntimeError, NotImplementedError):  # torch has no kernel for this dtype here
                continue
        if any(x != 0 for x in errors.values()):  # also NaN, where float16 overflows
            rows.append(NodePrecisionErrors(path, errors))
    return rows
