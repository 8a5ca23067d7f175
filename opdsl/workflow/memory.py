"""The memory of a training step of a program, planned without data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opdsl.diagnostics import fault
from opdsl.ir.dims import decided
from opdsl.ir.spaces import Space
from opdsl.train.config.parallel_and_memory import parse_bytes
from opdsl.workflow.errors import ArgumentError
from opdsl.workflow.programs.program import Program, resolve_settings

if TYPE_CHECKING:
    from torch import Tensor

    from opdsl.nn.points.batch import Values
    from opdsl.train.config.schema import Settings
    from opdsl.workflow.memory_report import MemoryReport

Sizes = Mapping[str, tuple[int, ...]]  # points on each axis of each declared domain
SEED = 0


@dataclass(frozen=True, slots=True)
class _RandomSamples:
    """Samples of normal random numbers."""

    inputs: dict[str, Values]
    outputs: dict[str, Values]
    resolution: tuple[int, ...]
    name: str = "random"
    fingerprint: str = "random"

    def __len__(self) -> int:
        return len(next(iter(self.outputs.values())))


def plan_memory(
    program: Program, sizes: Sizes, limit: str, batch: int | None, device: str
) -> MemoryReport:
    """Plan a training step of a program, with fresh weights and random samples.

    A few samples are computed, one unit of the model at a time.

    Args:
        program: whose train block says loss, optimizer, precision and batch.
        sizes: points on each axis of each declared domain.
        limit: such as `8 GB`.
        batch: number of samples; that of the train block if not given.
        device: kind of device.

    Raises:
        ArgumentError: the limit is none, or an input of the model is not on a grid.
        OpError: OP0851, the memory of the step cannot be planned.
    """
    from opdsl.lower.module import lower
    from opdsl.lower.plan.measure import measurable, random_inputs
    from opdsl.train.engine.device import device_of
    from opdsl.train.engine.fit import normaliser_of, objective_of, train_step_of
    from opdsl.train.engine.limits.memory import TRIAL_SAMPLES, trial_needs
    from opdsl.train.engine.loader import DeviceLoader
    from opdsl.train.engine.randomness import seed_everything
    from opdsl.train.metrics.evaluate import grids_of
    from opdsl.workflow.losses.run_losses import losses_of
    from opdsl.workflow.runs.evaluation import grid_axes, latitude_samplings
    from opdsl.workflow.runs.rollout import loop_of
    from opdsl.workflow.training.checks.transforms import axis_rules
    from opdsl.workflow.training.memory_plan import memory_report

    try:
        allowed = parse_bytes(limit)
    except ValueError as error:
        raise ArgumentError(f"`--memory`: {error}") from error
    device_of(device)
    settings = _settings(program, batch, device)
    graph = program.graph
    seed_everything(SEED)
    module = lower(graph)
    module.node_precision = settings.node_precision.of(x.path for x in graph.nodes)
    if not measurable(module):
        raise ArgumentError("`--memory` needs a model all of whose inputs are on grids")
    loop = loop_of(graph, settings.rollout)
    inputs = random_inputs(module, sizes, TRIAL_SAMPLES)
    names = [x.name for x in graph.inputs]
    samples = _RandomSamples(
        dict(zip(names, inputs, strict=True)),
        {x.name: _random(x.space, sizes, settings.rollout) for x in graph.outputs},
        next(iter(sizes.values()), ()),
    )
    axes, samplings = grid_axes(graph), latitude_samplings(graph)
    grids = grids_of(samples, {}, {}, loop, axes)
    normaliser = normaliser_of(samples, settings, loop, samplings, axis_rules(graph), axes)
    objective = losses_of(program, settings).objective
    if objective is None:
        objective = objective_of(settings, grids, banded=False)
    step = train_step_of(module, normaliser, settings, grids, loop, None, objective)
    loader = DeviceLoader.of(samples, step.policy, samplings, step.units)
    batch_of_trial = next(loader.in_order(TRIAL_SAMPLES))
    with trial_needs(step, batch_of_trial, settings) as needs:
        return memory_report(module, allowed, needs)


def _settings(program: Program, batch: int | None, device: str) -> Settings:
    settings = resolve_settings(program).settings
    if settings.band.of is not None:
        message = "the memory of a band is planned with its run: `opdsl train`"
        raise fault("OP0851", message, helps=("leave `--memory` out",))
    if settings.patches.used:
        message = "the memory of patches is not planned: a step computes `patches.at_once` of them"
        raise fault("OP0851", message, helps=("leave `--memory` out",))
    changes = {"device": device, "recompute": False}
    return settings.model_copy(update=changes | ({} if batch is None else {"batch": batch}))


def _random(space: Space, sizes: Sizes, steps: int | None) -> Tensor:
    import torch

    from opdsl.train.engine.limits.memory import TRIAL_SAMPLES

    times = () if steps is None else (steps,)
    shape = (TRIAL_SAMPLES, *times, decided(space.channels), *space.domain.at(sizes))
    return torch.randn(shape, dtype=torch.complex64 if space.complex else torch.float32)
