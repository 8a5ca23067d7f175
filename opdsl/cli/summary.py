"""`opdsl summary`: what a model holds, costs and promises."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import UNKNOWN_WIDTH, UsageError, result, show_json, table, width
from opdsl.cli.options import Json, Model, Parameters, Spec

if TYPE_CHECKING:
    from opdsl.ir.graph import Graph
    from opdsl.lower.plan.measure import Line, Measured
    from opdsl.lower.plan.planner import Forecast, Plan
    from opdsl.lower.plan.tuning_case import Timer
    from opdsl.train.metrics.precision_errors import PrecisionError


def command(
    spec: Spec,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="x=64,y=64", help="Numbers at this resolution."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Which kernel computes each node, and why.")
    ] = False,
    batch: Annotated[
        int, typer.Option("--batch", min=1, metavar="N", help="Samples at a time, for --plan.")
    ] = 1,
    device: Annotated[
        str, typer.Option("--device", metavar="KIND", help="cpu or cuda, for --plan, --precision.")
    ] = "cpu",
    measure: Annotated[
        bool, typer.Option("--measure", help="Run the plan: its milliseconds and bytes.")
    ] = False,
    autotune: Annotated[
        bool, typer.Option("--autotune", help="Measure each choice now, and keep the times.")
    ] = False,
    precision: Annotated[
        bool, typer.Option("--precision", help="Errors of each precision against fp64.")
    ] = False,
    threads: Annotated[
        int, typer.Option("--threads", min=1, metavar="N", help="Cores of a CPU, for --plan.")
    ] = 1,
    model: Model = None,
    sets: Parameters = None,
    as_json: Json = False,
) -> None:
    """Show spaces, costs and the certificate of a model.

    Example: opdsl summary specs/fno_darcy.op --at x=64,y=64 --plan
    """
    from opdsl.cli.programs import open_model
    from opdsl.summary import parse_at, summarise, to_json, to_text

    _sensible(at, device, {"--autotune": autotune, "--measure": measure}, plan=plan)
    if precision and at is None:
        raise UsageError("`--precision` needs a resolution, as `--at x=64,y=64`")
    graph = open_model(spec, model, sets).graph
    sizes = parse_at(at, graph) if at is not None else None
    found = summarise(graph, sizes)
    timer = _timer(device, threads, autotune=autotune) if plan else None
    chosen = _plan(graph, sizes, batch, device, threads, timer) if plan else None
    measured = _measure(graph, chosen, timer) if chosen and measure else None
    told = _told(graph, chosen, measured) if chosen and measured else []
    errors = _roundings(graph, sizes, batch, device) if precision and sizes else []
    if as_json:
        more: dict[str, Any] = {"plan": _plan_json(chosen)} if chosen else {}
        more |= {"measured": _measured_json(measured, told)} if measured else {}
        more |= {"precisions": [asdict(x) for x in errors]} if errors else {}
        show_json(to_json(found) | more)
        return
    result(to_text(found, width(sys.stdout) or UNKNOWN_WIDTH))
    if chosen:
        result("\n" + _plan_text(chosen))
    if chosen and measured:
        result("\n" + _measured_text(chosen, measured, told))
    if errors:
        result("\n" + _roundings_text(errors))


def _sensible(at: str | None, device: str, runs: Mapping[str, bool], *, plan: bool) -> None:
    """Refuse options that run something where it is not said what, or cannot run there."""
    for option in (name for name, wanted in runs.items() if wanted):
        if not (plan and at):
            raise UsageError(f"`{option}` needs `--plan` and a resolution, as `--at x=64,y=64`")
        if device != "cpu":
            raise UsageError(f"`{option}` runs on the CPU, not on `{device}`")


def _timer(device: str, threads: int, *, autotune: bool) -> Timer | None:
    """This user's measured times, and with `autotune` new ones; None: there are none."""
    from opdsl.lower.plan.timings import users_folder, users_timings

    if autotune:
        import torch

        from opdsl.lower.plan.tune import Tuner

        torch.set_num_threads(threads)
        return Tuner(users_timings(anew=True))
    folder = users_folder()
    # looking into them takes the compiled kernels, which an empty folder is not worth
    known = device == "cpu" and folder is not None and folder.is_dir()
    return users_timings() if known else None


def _plan(
    graph: Graph,
    sizes: dict[str, tuple[int, ...]] | None,
    batch: int,
    device: str,
    threads: int,
    timer: Timer | None,
) -> Plan:
    """The kernels at the resolution, or at the smallest that is promised."""
    from opdsl.lower.plan.planner import plan

    least = {x.name: tuple(a.least for a in x.axes) for x in graph.domains}
    return plan(graph, sizes or least, batch, device, threads, timer=timer)


def _plan_text(plan: Plan) -> str:
    sizes = ", ".join(f"{k} at {'×'.join(map(str, n))}" for k, n in plan.roots.items())
    cores = f", {plan.threads} core{'' if plan.threads == 1 else 's'}" * (plan.device == "cpu")
    head = f"plan  {sizes}, batch {plan.batch}, {plan.device}{cores}"
    rows = [(f"  {x.path}", x.reason) for x in plan.choices.values()]
    rows += [(f"  {path}", f"fused: {reason}") for path, reason in plan.fused.items()]
    return "\n".join([head, table(rows, left=2) if rows else "  no node has a choice"])


def _plan_json(plan: Plan) -> dict[str, Any]:
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


def _measure(graph: Graph, plan: Plan, timer: Timer | None) -> Measured:
    """The plan as it runs, with fresh weights."""
    import torch

    from opdsl.lower.module import lower
    from opdsl.lower.plan.measure import measurable, measure

    torch.set_num_threads(plan.threads)
    module = lower(graph)
    module.timer = timer
    if not measurable(module):
        raise UsageError("`--measure` needs a model all of whose inputs are on grids")
    return measure(module, plan.roots, plan.batch)


def _told(graph: Graph, plan: Plan, measured: Measured) -> list[Forecast]:
    """What was predicted for each line."""
    from opdsl.lower.fuse import fusions
    from opdsl.lower.plan.planner import forecast, forecasts
    from opdsl.lower.plan.tuning_case import FUSED, Setting

    setting = Setting(plan.roots, plan.batch, plan.device, plan.threads, plan.dtype)
    kernels = {path: x.kernel for path, x in plan.choices.items()}
    known = {x.end: x for x in fusions(graph)}
    return [
        forecasts(graph, known[x.path], setting, kernels)[FUSED]
        if x.fused
        else forecast(graph, [graph.by_path[y] for y in x.nodes], setting, kernels)
        for x in measured.lines
    ]


def _measured_text(plan: Plan, measured: Measured, told: Sequence[Forecast]) -> str:
    heads = ("  node", "kernel", "predicted", "measured", "result", "kept", "others")
    rows: list[tuple[str, ...]] = [heads]
    rows += [_measured_row(plan, x, y) for x, y in zip(measured.lines, told, strict=True)]
    totals = [
        ("  forward", f"{measured.forward:.3g} ms"),
        ("  forward and gradient", f"{measured.step:.3g} ms"),
    ]
    head = "measured  one call that keeps what its gradient needs, the fastest of several"
    return "\n".join([head, table(rows, left=2), "", table(totals)])


def _measured_row(plan: Plan, line: Line, told: Forecast) -> tuple[str, ...]:
    known = [plan.choices[x] for x in line.nodes if x in plan.choices]
    kernel = f"fused, {len(line.nodes)} nodes" if line.fused else ", ".join(x.kernel for x in known)
    return (
        f"  {line.path}",
        kernel,
        f"{told.milliseconds:.3g} ms",
        f"{line.milliseconds:.3g} ms",
        _size(line.result),
        _size(line.saved),
        ", ".join(f"{k} {x.milliseconds:.3g} ms {_size(x.saved)}" for k, x in line.others.items()),
    )


def _roundings(
    graph: Graph, sizes: dict[str, tuple[int, ...]], batch: int, device: str
) -> list[PrecisionError]:
    """With fresh weights and random numbers."""
    import torch

    from opdsl.lower.module import lower
    from opdsl.lower.plan.measure import measurable, random_inputs
    from opdsl.train.engine.device import device_of
    from opdsl.train.metrics.precision_errors import precision_errors

    torch.manual_seed(0)
    module = lower(graph)
    if not measurable(module):
        raise UsageError("`--precision` needs a model all of whose inputs are on grids")
    return precision_errors(module, random_inputs(module, sizes, batch), device_of(device))


def _roundings_text(errors: list[PrecisionError]) -> str:
    rows: list[tuple[str, ...]] = [("  precision", "result", "gradient", "")]
    rows += [(f"  {x.name}", _digits(x.result), _digits(x.gradient), x.why) for x in errors]
    head = "precision  relative errors against fp64, fresh weights, random input"
    return "\n".join([head, table(rows, left=1)])


def _digits(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def _size(count: int) -> str:
    return f"{count / 2**20:.2f} MiB"


def _measured_json(measured: Measured, told: Sequence[Forecast]) -> dict[str, Any]:
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
                "predicted_saved_bytes": y.kept,
                "others": {
                    k: {"milliseconds": z.milliseconds, "saved_bytes": z.saved}
                    for k, z in x.others.items()
                },
            }
            for x, y in zip(measured.lines, told, strict=True)
        ],
    }
