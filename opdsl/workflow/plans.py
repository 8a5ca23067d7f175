"""Plans of execution: which kernel computes each node, how fast it is, and how exact."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from opdsl.ir.graph import Graph
from opdsl.workflow.errors import ArgumentError

if TYPE_CHECKING:
    from opdsl.ir.sharding.plan import ShardingPlan
    from opdsl.lower.plan.measure import CallCost
    from opdsl.lower.plan.planner import Forecast, KernelPlan
    from opdsl.lower.plan.tuning_case import Timer
    from opdsl.summary.sharding import SpacePlan
    from opdsl.train.metrics.node_precision_errors import NodePrecisionErrors
    from opdsl.train.metrics.precision_errors import PrecisionError
    from opdsl.workflow.programs.program import Program

AXIS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)?")  # `x`, or that of one domain: `D.x`
Sizes = Mapping[str, tuple[int, ...]]  # points on each axis of each declared domain


def kernel_timer(device: str, threads: int, *, autotune: bool) -> Timer | None:
    """Return the user's measured times, with `autotune` one that measures; None without any."""
    from opdsl.lower.plan.timings import users_folder, users_timings

    if autotune:
        import torch

        from opdsl.lower.plan.tune import Tuner

        torch.set_num_threads(threads)
        return Tuner(users_timings(anew=True))
    folder = users_folder()
    # reading times loads the compiled kernels, which is slow: skip it for a missing folder
    has_timings = device == "cpu" and folder is not None and folder.is_dir()
    return users_timings() if has_timings else None


def make_plan(
    graph: Graph, sizes: Sizes | None, batch: int, device: str, threads: int, timer: Timer | None
) -> KernelPlan:
    """Choose the kernels at a resolution, or at the smallest that is promised."""
    from opdsl.lower.plan.planner import plan_kernels

    least = {x.name: tuple(a.least for a in x.axes) for x in graph.domains}
    return plan_kernels(graph, dict(sizes) if sizes else least, batch, device, threads, timer=timer)


def plan_run(
    program: Program, sizes: Sizes | None, batch: int | None, processes: int, space: str | None
) -> SpacePlan:
    """Plan a step of a run of a program in several processes.

    Args:
        program: its train block says what the other arguments leave open.
        sizes, batch, processes, space: as in `plan_processes`; without `space` it is
            `parallel.space`, and all processes share every sample where that is 1.

    Raises:
        ArgumentError: as `plan_processes`; or the program runs on patches.
        OpError: as `plan_processes`; or the settings of the program do not fit.
    """
    from opdsl.workflow.programs.program import resolve_settings

    settings = resolve_settings(program).settings
    if settings.patches.used:
        reason = "processes that share a sample share its patches, and exchange the outputs only"
        raise ArgumentError(f"there is no plan of processes for a program with `patches`: {reason}")
    of_program = settings.parallel.space
    if space is None and of_program != 1:
        space = _space_text(of_program)
    return plan_processes(program.graph, sizes, batch or settings.batch, processes, space)


def _space_text(space: int | str | Mapping[str, int]) -> str:
    """Write the setting `parallel.space` as the option."""
    if not isinstance(space, Mapping):
        return str(space)
    return ",".join(f"{axis}={n}" for axis, n in space.items() if n > 1) or "1"


def plan_processes(
    graph: Graph, sizes: Sizes | None, batch: int, processes: int, space: str | None
) -> SpacePlan:
    """Plan a step whose samples are divided among processes.

    Args:
        graph: the model.
        sizes: points on each axis of each declared domain; None: the smallest that are promised.
        batch: samples of a step, of all processes together.
        processes: how many there are.
        space: processes that share a sample, `2`, `auto`, an axis, `x`, or both, `x=2`; None: all
            share every sample.

    Raises:
        ArgumentError: `space` is not understood or does not divide the processes.
        OpError: OP0820 to OP0822, the samples of the model cannot be divided in this way.
    """
    from opdsl.ir.sharding.choice import AUTO
    from opdsl.ir.sharding.plan import plan_sharding
    from opdsl.summary.sharding import SpacePlan

    least = {x.name: tuple(a.least for a in x.axes) for x in graph.domains}
    ranks, axis = processes, AUTO
    if space is not None:
        ranks, axis = _space_of_option(graph, space, processes, batch)
    if ranks < 1 or processes % ranks:
        raise ArgumentError(f"{processes} processes cannot be divided into groups of {ranks}")
    samples = -(-batch * ranks // processes)
    plan = plan_sharding(graph, ranks, axis, sizes or least, samples)
    return SpacePlan.of(plan, processes, _fused_on_parts(plan))


def _space_of_option(graph: Graph, text: str, processes: int, batch: int) -> tuple[int, str]:
    """Return how many processes share a sample, and the axis, as `resolve_space`.

    Raises:
        ArgumentError: the text is not understood.
        OpError: OP0822, several axes are divided.
    """
    from opdsl.ir.sharding.choice import AUTO, resolve_space

    if text == AUTO or text.isdecimal():
        return resolve_space(graph, int(text) if text.isdecimal() else AUTO, processes, batch)
    if AXIS.fullmatch(text):
        return processes, text
    counts = {}
    for part in text.split(","):
        name, _, count = part.strip().partition("=")
        if not (AXIS.fullmatch(name) and count.isdecimal()):
            forms = "a number (`2`), an axis (`x`), both (`x=2`) or `auto`"
            raise ArgumentError(f"`space` is {forms}, not `{text}`")
        counts[name] = int(count)
    if len(counts) > 1:
        return resolve_space(graph, counts, processes, batch)
    ((axis, ranks),) = counts.items()
    return ranks, axis


def _fused_on_parts(plan: ShardingPlan) -> Iterator[tuple[str, ...]]:
    """Yield the nodes of each subgraph that runs as one operation on a CPU.

    On parts only those with exponentials on grids do, and their kernels transform the axes behind
    the divided one; see `opdsl.lower.sharded.fused`.
    """
    from opdsl.lower.fuse import fusions
    from opdsl.lower.plan.planner import plan_kernels

    chosen = plan_kernels(plan.graph, plan.sizes, plan.batch, dtype=plan.dtype).fused
    for fusion in fusions(plan.graph):
        nodes = [plan.nodes[x] for x in fusion.nodes]
        spectral = [x for x in nodes if x.rule.kind == "spectral"]
        on_parts = all(
            x.layout.axis != len(x.rule.counts) - 1
            and (x.rule.width, x.rule.terms) == (2, 1)
            and plan.graph.spaces[x.path].domain.regular
            for x in spectral
        )
        if fusion.end in chosen and (plan.ranks == 1 or on_parts):
            yield fusion.nodes


def measure_plan(graph: Graph, plan: KernelPlan, timer: Timer | None) -> CallCost:
    """Run a plan with fresh weights, and measure times and bytes of each node.

    Raises:
        ArgumentError: an input of the model is not on a grid.
    """
    import torch

    from opdsl.lower.module import lower
    from opdsl.lower.plan.measure import measurable, measure

    torch.set_num_threads(plan.threads)
    module = lower(graph)
    module.timer = timer
    if not measurable(module):
        raise ArgumentError("`--measure` needs a model all of whose inputs are on grids")
    return measure(module, plan.roots, plan.batch)


def forecasts_of(graph: Graph, plan: KernelPlan, measured: CallCost) -> list[Forecast]:
    """Return the predicted time and bytes for each measured line."""
    from opdsl.lower.fuse import fusions
    from opdsl.lower.plan.planner import forecast, forecasts
    from opdsl.lower.plan.tuning_case import FUSED, Workload

    setting = Workload(plan.roots, plan.batch, plan.device, plan.threads, plan.dtype)
    kernels = {path: x.kernel for path, x in plan.choices.items()}
    regions_by_end = {x.end: x for x in fusions(graph)}
    return [
        forecasts(graph, regions_by_end[x.path], setting, kernels)[FUSED]
        if x.fused
        else forecast(graph, [graph.by_path[y] for y in x.nodes], setting, kernels)
        for x in measured.lines
    ]


def precision_errors(
    graph: Graph, sizes: Sizes, batch: int, device: str
) -> Sequence[PrecisionError]:
    """Compare each precision with fp64, with fresh weights and random inputs.

    Raises:
        ArgumentError: an input of the model is not on a grid.
    """
    import torch

    from opdsl.lower.module import lower
    from opdsl.lower.plan.measure import measurable, random_inputs
    from opdsl.train.engine.device import device_of
    from opdsl.train.metrics.precision_errors import precision_errors

    torch.manual_seed(0)
    module = lower(graph)
    if not measurable(module):
        raise ArgumentError("`--precision` needs a model all of whose inputs are on grids")
    return precision_errors(module, random_inputs(module, dict(sizes), batch), device_of(device))


def node_precision_errors(
    graph: Graph, sizes: Sizes, batch: int, device: str
) -> Sequence[NodePrecisionErrors]:
    """Measure what each node costs in a narrow precision, with fresh weights and random inputs.

    Raises:
        ArgumentError: an input of the model is not on a grid.
    """
    import torch

    from opdsl.lower.module import lower
    from opdsl.lower.plan.measure import measurable, random_inputs
    from opdsl.train.engine.device import device_of
    from opdsl.train.engine.precision import policy_of
    from opdsl.train.metrics.node_precision_errors import node_precision_errors
    from opdsl.train.metrics.precision_errors import computed_numbers

    torch.manual_seed(0)
    module, policy = lower(graph), policy_of("fp32", device_of(device))
    if not measurable(module):
        raise ArgumentError("`--by-node` needs a model all of whose inputs are on grids")
    inputs = [policy.place(x) for x in random_inputs(module, dict(sizes), batch)]

    def outputs(named: Mapping[str, str]) -> torch.Tensor:
        module.node_precision = named
        policy.prepare_module(module)
        with torch.no_grad(), policy.arithmetic():
            return computed_numbers(module(*inputs))

    return node_precision_errors([x.node.path for x in module.steps], outputs)
