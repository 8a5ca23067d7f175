"""`opdsl summary`: what a model holds, costs and promises."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opdsl.cli.console import UNKNOWN_WIDTH, result, show_json, table, width
from opdsl.cli.options import Json, Model, Parameters, Spec

if TYPE_CHECKING:
    from opdsl.ir.graph import Graph
    from opdsl.lower.plan import Plan


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
        str, typer.Option("--device", metavar="KIND", help="cpu or cuda, for --plan.")
    ] = "cpu",
    model: Model = None,
    sets: Parameters = None,
    as_json: Json = False,
) -> None:
    """Show spaces, costs and the certificate of a model.

    Example: opdsl summary specs/fno_darcy.op --at x=64,y=64 --plan
    """
    from opdsl.cli.programs import open_model
    from opdsl.summary import parse_at, summarise, to_json, to_text

    graph = open_model(spec, model, sets).graph
    sizes = parse_at(at, graph) if at is not None else None
    found = summarise(graph, sizes)
    chosen = _plan(graph, sizes, batch, device) if plan else None
    if as_json:
        show_json(to_json(found) | ({"plan": _plan_json(chosen)} if chosen else {}))
        return
    result(to_text(found, width(sys.stdout) or UNKNOWN_WIDTH))
    if chosen:
        result("\n" + _plan_text(chosen))


def _plan(graph: Graph, sizes: dict[str, tuple[int, ...]] | None, batch: int, device: str) -> Plan:
    """The kernels at the resolution, or at the smallest that is promised; one core."""
    from opdsl.lower.plan import plan

    least = {x.name: tuple(a.least for a in x.axes) for x in graph.domains}
    return plan(graph, sizes or least, batch=batch, device=device)


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
                "reason": x.reason,
            }
            for x in plan.choices.values()
        ],
        "fused": dict(plan.fused),
    }
