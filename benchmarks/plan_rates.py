"""How good the predictions of a plan are: predicted against measured, for units of several models.

    OMP_NUM_THREADS=1 python benchmarks/plan_rates.py [--fit]

Each model runs with fresh weights at one resolution and batch, forward alone with what the gradient
needs kept, as `opdsl summary --plan --measure` does; each unit is measured in every way, node by
node and as one operation. The table tells for each kind of unit the ratio predicted / measured of
milliseconds and of bytes kept: the median, the least and the greatest. `--fit` fits the rate of
fused units in `opdsl/lower/plan/planner.py` to every other one.
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path

import torch

import opdsl
from opdsl.lower.fuse import fusions
from opdsl.lower.module import lower
from opdsl.lower.plan import costs
from opdsl.lower.plan.measure import measure
from opdsl.lower.plan.planner import FUSED_RATES, RATES
from opdsl.lower.plan.tuning_case import FUSED, PLAIN, Workload
from opdsl.summary import parse_at

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MODELS = (  # spec, points on each axis, batch
    ("fno_burgers", (1024,), 8),
    ("fno_darcy", (64, 64), 4),
    ("fno_navier_stokes", (32, 32, 24), 1),
    ("tfno_darcy", (64, 64), 4),
    ("uno_darcy", (64, 64), 4),
    ("sfno_swe", (32, 64), 2),
    ("f_fno", (64, 64), 2),
    ("fno_3d", (32, 32, 32), 1),
)


def main():
    fitting = argparse.ArgumentParser()
    fitting.add_argument("--fit", action="store_true")
    torch.manual_seed(0)
    rows = [row for model in MODELS for row in units(*model)]
    if fitting.parse_args().fit:
        fit(rows)
    table = summary(rows)
    print(table)
    head = "# Predictions of the plan against measurements\n\n"
    note = (
        "`python benchmarks/plan_rates.py`: for each kind of unit of the models "
        f"{', '.join(x[0] for x in MODELS)}, the ratio predicted / measured of a forward pass on "
        "one core, and of the bytes kept for the gradient: median (least to greatest). The "
        "rates are those of the package; they were fitted on a machine that others used.\n\n"
    )
    (RESULTS / "plan_rates.md").write_text(head + note + table + "\n")
    (RESULTS / "plan_rates.json").write_text(json.dumps(ratios(rows), indent=1) + "\n")


def units(name, sizes, batch):
    """Every unit of a model in every way: kind, work, bytes kept, milliseconds, bytes measured."""
    graph = opdsl.load(ROOT / "specs" / f"{name}.op")
    module = lower(graph)
    axes = graph.inputs[0].space.domain.axes
    at = ",".join(f"{x.name}={n}" for x, n in zip(axes, sizes, strict=True))
    roots = parse_at(at, graph)
    setting = Workload(roots, batch)
    known = {x.end: x for x in fusions(graph)}
    found = measure(module, roots, batch)
    for line in found.lines:
        ends = [(x, y.milliseconds, y.saved) for x, y in line.others.items()]
        own = FUSED if line.fused else kernel(module, line.nodes) or PLAIN
        for way, ms, saved in [(own, line.milliseconds, line.saved), *ends]:
            nodes = [graph.by_path[x] for x in line.nodes]
            kernels = {x.path: way for x in nodes if way in x.block.kernels}
            load = (
                costs.fused_load(graph, known[line.path], setting)
                if way == FUSED
                else costs.plain_load(graph, nodes, kernels, setting)
            )
            kind = known[line.path].kind if len(nodes) > 1 else nodes[0].block.keyword()
            yield name, kind, way, load, ms, saved


def kernel(module, nodes):
    chosen = [module.latest.choices[x].kernel for x in nodes if x in module.latest.choices]
    return chosen[0] if chosen else None


def predicted(way, load):
    rates = FUSED_RATES if way == FUSED else RATES["cpu"]
    return 1e3 * rates.seconds(load.work)


def ratios(rows):
    times, kept = defaultdict(list), defaultdict(list)
    for _, kind, way, load, ms, saved in rows:
        if ms > 0.05:  # below is the cost of a call, which nothing is chosen by
            times[f"{kind}, {way}"].append(predicted(way, load) / ms)
            if saved > 2**16 and load.saved_bytes:
                kept[f"{kind}, {way}"].append(load.saved_bytes / saved)
    return {k: {"milliseconds": x, "kept": kept[k]} for k, x in sorted(times.items())}


def summary(rows):
    lines = ["| unit, way | units | milliseconds | bytes kept |", "|---|---|---|---|"]
    for kind, found in ratios(rows).items():
        n = len(found["milliseconds"])
        lines.append(f"| {kind} | {n} | {span(found['milliseconds'])} | {span(found['kept'])} |")
    return "\n".join(lines)


def span(values):
    if not values:
        return ""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def fit(rows):
    """The rate of what fused units move, where their products are as fast as those of others."""
    fused = [x for x in rows if x[2] == FUSED][::2]
    gemm = FUSED_RATES.gemm
    rest = [(load.work.moved, ms / 1e3 - load.work.gemm / gemm) for *_, load, ms, _ in fused]
    print("fused: moved", statistics.median(moved / max(1e-9, t) for moved, t in rest))


if __name__ == "__main__":
    main()
