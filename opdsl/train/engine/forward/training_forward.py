"""The forward pass of training, where it differs from that of a prediction.

Noise on inputs, the steps in time through which the gradient passes, and results that are computed
again for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.nn.points.packed import Packed
from opdsl.nn.recomputation import recomputed_operations
from opdsl.parallel.agreement import cut_of_all
from opdsl.parallel.mesh import ALONE, ProcessMesh
from opdsl.train.engine.forward.host_tensors import host_saved_tensors
from opdsl.train.engine.loader import Batch, FieldValues
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.rollout import GradientPath, Rollout
from opdsl.train.metrics.evaluate import apply, steps_of
from opdsl.train.scaling.normalise import Normaliser


@dataclass(frozen=True, slots=True)
class TrainingForward:
    """How a module runs on a batch of training.

    Attributes:
        noise: deviation of the noise that is added to the normalised inputs.
        pushforward: the steps in time through which the gradient passes.
        recompute: whether each call of the module is computed again for the gradient.
        host_activations: whether tensors saved for the gradient wait in the memory of the host.

    Source: Brandstetter, Worrall and Welling 2022, arXiv:2202.03376, section 3.1 (pushforward);
    Sanchez-Gonzalez et al. 2020, arXiv:2002.09405 (noise).
    """

    noise: float = 0.0
    pushforward: GradientPath = "none"
    recompute: bool = False
    host_activations: bool = False

    def _noise(self, batch: Batch, mesh: ProcessMesh, x: Values) -> Tensor:
        return self.noise * own_noise(x, mesh, counts=batch.counts)

    def run(  # the parts of a step
        self,
        module: nn.Module,
        scales: Normaliser,
        batch: Batch,
        policy: PrecisionPolicy,
        loop: Rollout | None,
        horizon: int | None,
        mesh: ProcessMesh = ALONE,
    ) -> tuple[FieldValues, Batch]:
        """Compute the outputs in physical units, and the batch with which the loss compares them.

        Args:
            module: in training mode.
            scales: in the units of the batch.
            batch: inputs and truth.
            policy: the precision.
            loop: the rollout, if there are steps in time.
            horizon: steps in time at most; None: those of the truth.
            mesh: of the processes that share the batch.
        """
        call: Callable[..., Any] = module
        if self.recompute:
            call = _recomputed(module)
        if self.host_activations:
            call = _saving_on_host(call)
        if self.noise:
            names = {to for _, to in loop.feedback} if loop else set(batch.inputs)
            call = _FirstCallNoisy(call, names, partial(self._noise, batch, mesh))
        if loop is None:
            return apply(call, scales, batch.inputs, policy, places=batch.places), batch
        batch = _steps(batch, loop, slice(horizon))
        steps = steps_of(batch.truth, loop)
        outputs = apply(
            call, scales, batch.inputs, policy, loop, steps, batch.places, self.pushforward
        )
        if self.pushforward != "last":
            return outputs, batch
        last = slice(-1, None)
        return {k: map_values(x, lambda y: y[:, last]) for k, x in outputs.items()}, _steps(
            batch, loop, last
        )


def own_noise(x: Values, mesh: ProcessMesh, *, counts: bool = True) -> Tensor:
    """Draw standard normal numbers for all values of a batch, (batch or 1, channels, ...).

    Where processes share a batch, all draw the numbers of the whole batch and take their own, so
    that the noise does not depend on the number of processes, and generators stay equal.

    Args:
        x: of the samples of this process.
        mesh: of the processes.
        counts: whether they belong to the batch, as in `Batch`.
    """
    values, axis = all_values(x), -1 if isinstance(x, Packed) else 0
    if mesh.data == 1:
        return torch.randn_like(values)
    size = values.shape[axis]
    total, start = cut_of_all(mesh, size * counts)
    shape = [*values.shape]
    shape[axis] = total
    drawn = torch.randn(shape, dtype=values.dtype, device=values.device)
    return drawn.narrow(axis, start, size) if counts else torch.zeros_like(values)


def _recomputed(module: nn.Module) -> Callable[..., Any]:
    def run(**arguments: Any) -> Any:
        with recomputed_operations():
            return module(**arguments)

    def call(**arguments: Any) -> Any:
        return checkpoint(run, use_reentrant=False, **arguments)

    return call


def _saving_on_host(module: Callable[..., Any]) -> Callable[..., Any]:
    def call(**arguments: Any) -> Any:
        with host_saved_tensors():
            return module(**arguments)

    return call


class _FirstCallNoisy:
    """A module whose first call gets noise on some of its inputs."""

    def __init__(
        self, module: Callable[..., Any], names: set[str], noise: Callable[[Values], Tensor]
    ) -> None:
        self._module, self._names, self._noise = module, names, noise

    def __call__(self, **arguments: Any) -> Any:
        """Call the module."""
        noisy = {k: self._noisy(arguments[k]) for k in sorted(self._names)}
        self._names = set()
        return self._module(**arguments | noisy)

    def _noisy(self, x: Values) -> Values:
        noise = self._noise(x)
        return map_values(x, lambda y: y + noise)


def _steps(batch: Batch, loop: Rollout, some: slice) -> Batch:
    """Select steps in time of the truth, of its weights, and of inputs with an axis of time."""
    if some == slice(None):
        return batch
    dims = {k: all_values(x).dim() for k, x in batch.truth.items()}
    count = all_values(next(iter(batch.truth.values()))).shape[1]

    def pick(x: Values, *, timed: bool) -> Values:
        return map_values(x, lambda y: y[:, :count][:, some] if timed and y.shape[1] > 1 else y)

    return replace(
        batch,
        inputs={k: pick(x, timed=loop.timed(k, x)) for k, x in batch.inputs.items()},
        truth={k: pick(x, timed=True) for k, x in batch.truth.items()},
        weights={
            k: pick(x, timed=all_values(x).dim() == dims.get(k)) for k, x in batch.weights.items()
        },
    )
