"""Plan the memory of a training step of a module, from profiles, kernels and predicted times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from opdsl.lower.fuse import fusions
from opdsl.lower.memory.choice import Attempt, PassMemory, StateBytes, attempts
from opdsl.lower.memory.profile import profile_step
from opdsl.lower.module import OperatorModule
from opdsl.lower.plan.planner import KernelPlan, forecast, forecasts, plan_kernels
from opdsl.lower.plan.tuning_case import FUSED, Workload

Trial = Callable[[int], tuple[Tensor, object]]


@dataclass(frozen=True, slots=True)
class PlannedMemory:
    """The measures that were considered for a step, and what they refer to.

    Attributes:
        attempts: in the order in which they were tried; the last one fits, if one does.
        paths: of the last node of each unit of the schedule.
        seconds: predicted time of a step without measures.
    """

    attempts: tuple[Attempt, ...]
    paths: tuple[str, ...]
    seconds: float

    @property
    def chosen(self) -> Attempt | None:
        """The attempt that fits; None if none does."""
        return next((x for x in self.attempts if x.fits), None)


def plan_step(
    module: OperatorModule,
    trial: Trial,
    state: StateBytes,
    samples: int,
    limit: int,
    *,
    host: bool = False,
    calls: int = 1,
) -> PlannedMemory:
    """Choose the measures by which a training step fits into a limit.

    Args:
        module: in training mode, on its device.
        trial: computes the loss of 1, 2 or 3 samples by one call of the module, and returns it with
            what stays alive behind it.
        state: bytes that the measures do not change.
        samples: in a batch.
        limit: bytes.
        host: whether tensors can wait in the memory of the host.
        calls: of the module in a step, as in a rollout.
    """
    profiles = _Profiles(module, trial)
    tried = tuple(attempts(profiles, state, samples, limit, host=host, calls=calls))
    paths = tuple(module.steps[x.steps[-1]].node.path for x in module.units)
    seconds = 3 * calls * sum(u.seconds for u in profiles(samples).units)
    return PlannedMemory(tried, paths, seconds)


@dataclass(slots=True)
class _Profiles:
    """Profiles of a step for any number of samples, each measured once for the same kernels."""

    module: OperatorModule
    trial: Trial
    measured: dict[object, PassMemory] = field(default_factory=dict)
    known: dict[int, PassMemory] = field(default_factory=dict)

    def __call__(self, samples: int) -> PassMemory:
        """Return the profile of some samples, with predicted times."""
        if samples not in self.known:
            profile = self._extrapolated(samples)
            seconds = _unit_seconds(self.module, self._kernels(samples))
            units = zip(profile.units, seconds, strict=True)
            self.known[samples] = replace(
                profile, units=tuple(replace(u, seconds=t) for u, t in units)
            )
        return self.known[samples]

    def _extrapolated(self, samples: int) -> PassMemory:
        """Extrapolate from two and three samples; a single one has views instead of copies."""
        if samples < 3:
            return self._profile(samples, samples)
        return self._profile(2, samples).at(samples - 1, self._profile(3, samples))

    def _profile(self, samples: int, planned: int) -> PassMemory:
        """Measure a step of a few samples with the kernels of `planned` samples."""
        if self.module.latest is None:
            self._run(samples, planned)
        key = samples, _signature(self._kernels(planned))
        if key not in self.measured:
            self.measured[key] = self._run(samples, planned)
        return self.measured[key]

    def _run(self, samples: int, planned: int) -> PassMemory:
        module = self.module
        module.planned_batch = planned
        try:
            return profile_step(module, lambda: self.trial(samples))
        finally:
            module.planned_batch = None

    def _kernels(self, samples: int) -> KernelPlan:
        latest, timer = self.module.latest, self.module.timer
        assert latest is not None  # the module has been called
        return plan_kernels(
            self.module.graph,
            latest.roots,
            samples,
            latest.device,
            torch.get_num_threads(),
            latest.dtype,
            timer,
        )


def _signature(plan: KernelPlan) -> object:
    return tuple((k, x.kernel) for k, x in plan.choices.items()), frozenset(plan.fused)


def _unit_seconds(module: OperatorModule, plan: KernelPlan) -> list[float]:
    """Predict the forward pass of each unit."""
    graph = module.graph
    setting = Workload(plan.roots, plan.batch, plan.device, plan.threads, plan.dtype)
    kernels = {path: x.kernel for path, x in plan.choices.items()}
    by_end = {x.end: x for x in fusions(graph)}
    result = []
    for unit in module.units:
        nodes = [module.steps[i].node for i in unit.steps]
        path = nodes[-1].path
        if path in plan.fused:
            predicted = forecasts(graph, by_end[path], setting, kernels)[FUSED]
        else:
            predicted = forecast(graph, nodes, setting, kernels)
        result.append(1e-3 * predicted.milliseconds)
    return result
