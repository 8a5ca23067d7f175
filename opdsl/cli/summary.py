"""`opdsl summary`: spaces, costs and the certificate of a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import UNKNOWN_WIDTH, UsageError, result, show_json, table, width
from opdsl.cli.node_precision import node_errors_text
from opdsl.cli.options import Json, Model, Parameters, Spec

if TYPE_CHECKING:
    from opdsl.lower.plan.measure import CallCost, UnitCost
    from opdsl.lower.plan.planner import Forecast, KernelPlan
    from opdsl.train.metrics.precision_errors import PrecisionError


def command(
    spec: Spec,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="x=64,y=64", help="The resolution of the numbers."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show which kernel computes each node, and why.")
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", min=1, metavar="N", help="Samples at a time, for --plan and --memory."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="KIND", help="cpu or cuda, for --plan, --precision.")
    ] = "cpu",
    measure: Annotated[
        bool, typer.Option("--measure", help="Run the plan, and show its times and bytes.")
    ] = False,
    autotune: Annotated[
        bool, typer.Option("--autotune", help="Measure each kernel now, and store the times.")
    ] = False,
    precision: Annotated[
        bool, typer.Option("--precision", help="Show the error of each precision against fp64.")
    ] = False,
    by_node: Annotated[
        bool, typer.Option("--by-node", help="With --precision, also the error of each node.")
    ] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", metavar="SIZE", help='Plan a training step within SIZE, as "8 GB".'
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", min=1, metavar="N", help="Cores of a CPU, for --plan.")
    ] = 1,
    nproc: Annotated[
        int | None,
        typer.Option(
            "--nproc", min=1, metavar="N", help="With --plan, the exchanges of N processes."
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space", metavar="x=N", help="With --nproc, the axis and parts of a sample, or auto."
        ),
    ] = None,
    model: Model = None,
    sets: Parameters = None,
    as_json: Json = False,
) -> None:
    """Show spaces, costs and the certificate of a model.

    Example: opdsl summary specs/fno_darcy.op --at x=64,y=64 --plan --nproc 4
    """
    from opdsl.cli.files import open_checked
    from opdsl.workflow.memory import plan_memory
    from opdsl.workflow.plans import (
        forecasts_of,
        kernel_timer,
        make_plan,
        measure_plan,
        node_precision_errors,
        plan_run,
        precision_errors,
    )
    from opdsl.workflow.views import resolution, summary

    _refuse_useless(at, device, {"--autotune": autotune, "--measure": measure}, plan=plan)
    _refuse_alone("--precision", "a resolution, as `--at x=64,y=64`", precision and at is None)
    _refuse_alone("--by-node", "`--precision`", by_node and not precision)
    _refuse_alone("--nproc", "`--plan`", nproc is not None and not plan)
    _refuse_alone("--space", "`--nproc`", space is not None and nproc is None)
    _refuse_alone(
        "--memory", "a resolution, as `--at x=64,y=64`", memory is not None and at is None
    )
    program = open_checked(spec, model, sets)
    graph = program.graph
    sizes = resolution(graph, at) if at is not None else None
    model_summary = summary(graph, at)
    timer = kernel_timer(device, threads, autotune=autotune) if plan else None
    kernel_plan = make_plan(graph, sizes, batch or 1, device, threads, timer) if plan else None
    processes = plan_run(program, sizes, batch, nproc, space) if nproc else None
    call_cost = measure_plan(graph, kernel_plan, timer) if kernel_plan and measure else None
    forecasts = forecasts_of(graph, kernel_plan, call_cost) if kernel_plan and call_cost else []
    errors = precision_errors(graph, sizes, batch or 1, device) if precision and sizes else []
    nodes = node_precision_errors(graph, sizes, batch or 1, device) if by_node and sizes else []
    memory_plan = plan_memory(program, sizes, memory, batch, device) if memory and sizes else None
    if as_json:
        additions: dict[str, Any] = {"plan": _plan_json(kernel_plan)} if kernel_plan else {}
        additions |= {"processes": processes.to_json()} if processes else {}
        additions |= {"measured": _measured_json(call_cost, forecasts)} if call_cost else {}
        additions |= {"precisions": [asdict(x) for x in errors]} if errors else {}
        additions |= {"node_precisions": [asdict(x) for x in nodes]} if nodes else {}
        additions |= {"memory": memory_plan.to_json()} if memory_plan else {}
        show_json(model_summary.to_json() | additions)
        return
    result(model_summary.to_text(width(sys.stdout) or UNKNOWN_WIDTH))
    if kernel_plan:
        result("\n" + _plan_text(kernel_plan))
    if processes:
        result("\n" + processes.to_text())
    if kernel_plan and call_cost:
        result("\n" + _measured_text(kernel_plan, call_cost, forecasts))
    if errors:
        result("\n" + _precisions_text(errors))
    if nodes:
        result("\n" + node_errors_text(nodes, "fresh weights, random input"))
    if memory_plan:
        result("\n" + "\n".join(memory_plan.lines()))


def _refuse_useless(at: str | None, device: str, runs: Mapping[str, bool], *, plan: bool) -> None:
    """Refuse options that run a plan without a resolution, or on a device that is not the CPU."""
    for option in (name for name, enabled in runs.items() if enabled):
        if not (plan and at):
            raise UsageError(f"`{option}` needs `--plan` and a resolution, as `--at x=64,y=64`")
        if device != "cpu":
            raise UsageError(f"`{option}` runs on the CPU, not on `{device}`")


def _refuse_alone(option: str, needed: str, alone: bool) -> None:
    if alone:
        raise UsageError(f"`{option}` needs {needed}")


def _plan_text(plan: KernelPlan) -> str:
    sizes = ", ".join(f"{k} at {'×'.join(map(str, n))}" for k, n in plan.roots.items())
    cores = f", {plan.threads} core{'' if plan.threads == 1 else 's'}" * (plan.device == "cpu")
    head = f"plan  {sizes}, batch {plan.batch}, {plan.device}{cores}"
    rows = [(f"  {x.path}", x.reason) for x in plan.choices.values()]
    rows += [(f"  {path}", f"fused: {reason}") for path, reason in plan.fused.items()]
    return "\n".join([head, table(rows, left=2) if rows else "  no node has a choice"])


def _plan_json(plan: KernelPlan) -> dict[str, Any]:
    return {
        "at": {k: list(n) for k, n in plan.roots.items()},
        "batch": plan.batch,
        "device": plan.device,
        "threads": plan.threads,
        "dtype": plan.dtype,
        "nodes": [
            {
                "path": x.path,
                "kernel": x.kernel,
                "milliseconds": dict(x.milliseconds),
                "measured_milliseconds": dict(x.measured),
                "reason": x.reason,
            }
            for x in plan.choices.values()
        ],
        "fused": dict(plan.fused),
    }


def _measured_text(plan: KernelPlan, measured: CallCost, forecasts: Sequence[Forecast]) -> str:
    heads = ("  node", "kernel", "predicted", "measured", "result", "kept", "others")
    rows: list[tuple[str, ...]] = [heads]
    rows += [_measured_row(plan, x, y) for x, y in zip(measured.lines, forecasts, strict=True)]
    totals = [
        ("  forward", f"{measured.forward:.3g} ms"),
        ("  forward and gradient", f"{measured.step:.3g} ms"),
    ]
    head = "measured  one call that keeps what its gradient needs, the fastest of several"
    return "\n".join([head, table(rows, left=2), "", table(totals)])


def _measured_row(plan: KernelPlan, line: UnitCost, forecast: Forecast) -> tuple[str, ...]:
    choices = [plan.choices[x] for x in line.nodes if x in plan.choices]
    kernel = (
        f"fused, {len(line.nodes)} nodes" if line.fused else ", ".join(x.kernel for x in choices)
    )
    return (
        f"  {line.path}",
        kernel,
        f"{forecast.milliseconds:.3g} ms",
        f"{line.milliseconds:.3g} ms",
        _size(line.result),
        _size(line.saved),
        ", ".join(f"{k} {x.milliseconds:.3g} ms {_size(x.saved)}" for k, x in line.others.items()),
    )


def _precisions_text(errors: Sequence[PrecisionError]) -> str:
    rows: list[tuple[str, ...]] = [("  precision", "result", "gradient", "")]
    rows += [(f"  {x.name}", _digits(x.result), _digits(x.gradient), x.why) for x in errors]
    head = "precision  relative errors against fp64, fresh weights, random input"
    return "\n".join([head, table(rows, left=1)])


def _digits(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def _size(count: int) -> str:
    return f"{count / 2**20:.2f} MiB"


def _measured_json(measured: CallCost, forecasts: Sequence[Forecast]) -> dict[str, Any]:
    return {
        "forward_milliseconds": measured.forward,
        "step_milliseconds": measured.step,
        "units": [
            {
                "path": x.path,
                "nodes": list(x.nodes),
                "fused": x.fused,
                "milliseconds": x.milliseconds,
                "predicted_milliseconds": y.milliseconds,
                "result_bytes": x.result,
                "saved_bytes": x.saved,
                "predicted_saved_bytes": y.saved_bytes,
                "others": {
                    k: {"milliseconds": z.milliseconds, "saved_bytes": z.saved}
                    for k, z in x.others.items()
                },
            }
            for x, y in zip(measured.lines, forecasts, strict=True)
        ],
    }
