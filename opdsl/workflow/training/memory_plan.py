"""The planner of a training step's memory that `fit` calls, for a module of a program."""

from __future__ import annotations

from functools import partial

from opdsl.diagnostics import fault
from opdsl.lower.memory.choice import StateBytes
from opdsl.lower.memory.planning import plan_step
from opdsl.lower.module import OperatorModule
from opdsl.lower.recompute import SegmentPlan
from opdsl.train.config.parallel_and_memory import parse_bytes
from opdsl.train.config.schema import Settings
from opdsl.train.engine.limits.memory import MemoryPlan, PlansMemory, StepNeeds
from opdsl.workflow.memory_report import MemoryReport


def memory_planner(module: object, settings: Settings) -> PlansMemory | None:
    """Return the planner for `settings.memory`; None if there is no limit.

    Raises:
        OpError: OP0851, the module is none of a program.
    """
    if settings.memory is None:
        return None
    if not isinstance(module, OperatorModule):
        message = f"the memory of a `{type(module).__name__}` cannot be planned"
        raise fault("OP0851", message, helps=("leave `memory` out",))
    return partial(_plan, module, parse_bytes(settings.memory))


def memory_report(module: OperatorModule, limit: int, needs: StepNeeds) -> MemoryReport:
    """Plan the memory of a step.

    Args:
        module: in training mode, on its device.
        limit: bytes.
        needs: of the step.
    """
    state = StateBytes(needs.weights, needs.gradients, needs.optimizer, needs.largest, needs.batch)
    planned = plan_step(
        module, needs.trial, state, needs.samples, limit, host=needs.host, calls=needs.calls
    )
    return MemoryReport(module.graph.name, limit, needs.samples, needs.device, state, planned)


def _plan(module: OperatorModule, limit: int, needs: StepNeeds) -> MemoryPlan:
    report = memory_report(module, limit, needs)
    chosen = report.planned.chosen
    if chosen is None:
        raise report.refusal()
    choice = chosen.choice
    again = bool(choice.segments)
    return MemoryPlan(
        parts=choice.parts,
        recompute=SegmentPlan(choice.segments) if again and needs.calls == 1 else None,
        whole_calls=again and needs.calls > 1,
        host_state=choice.host_state,
        host_activations=choice.host_activations,
        texts=tuple(report.lines()),
    )
