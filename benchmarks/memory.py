"""Training steps within limits of memory: the plan, the allocator's peak and the time of a step.

Each operator takes steps with everything kept, and within parts of the memory that this takes. The
peak is that of torch's allocator (its profiler), with weights, gradients and moments.

    python benchmarks/memory.py            # a few minutes on one core
"""

import json
import statistics
import time
from pathlib import Path

import torch
from against.measures import allocated

import opdsl
from opdsl.lower.recompute import SegmentPlan
from opdsl.workflow.memory import plan_memory
from opdsl.workflow.memory_report import measures
from opdsl.workflow.programs.program import open_program

RESULTS = Path(__file__).parent / "results"
STEPS = 2
HEAD = """edition 2026
from std.fourier import FNOBlock, FourierLayer
from std.pointwise import Lift, Project
from std.transformer import PhysicsLayer
model M {
  domain D = grid(AXES, boundary = periodic, min = 34)
  input a : D -> R^1
  output u : D -> R^1
"""
FNO = "  u = a |> Lift(out = 32) |> repeat 4 { FNOBlock(modes = MODES) } |> Project(out = 1)\n}\n"
UNO = """
  e0 = a |> Lift(out = 24)
  e1 = spectral_conv(e0, modes = 8, out = 48, to = D / 2) |> apply(gelu) |> FourierLayer(modes = 8)
  d0 = spectral_conv(e1, modes = 8, out = 24, to = D) |> apply(gelu)
  u = concat(d0, e0) |> FourierLayer(out = 24, modes = 8) |> Project(out = 1)
}
"""
TRANSOLVER = """
  u = concat(a, coords(D)) |> Lift(out = 32) |> repeat 3 { PhysicsLayer(slices = 16, heads = 4) }
    |> norm(kind = layer) |> Project(out = 1)
}
"""
TWO, THREE = "x: 0..1, y: 0..1", "x: 0..1, y: 0..1, z: 0..1"
CASES = {
    "FNO 2-D": (HEAD.replace("AXES", TWO) + FNO.replace("MODES", "12"), (64, 64), 8),
    "FNO 3-D": (
        HEAD.replace("AXES", THREE).replace("34", "13") + FNO.replace("MODES", "5"),
        (24, 24, 24),
        8,
    ),
    "UNO": (HEAD.replace("AXES", TWO) + UNO, (64, 64), 8),
    "Transolver": (
        HEAD.replace("AXES", TWO).replace(", boundary = periodic", "") + TRANSOLVER,
        (48, 48),
        8,
    ),
}
PARTS = (1.0, 0.8, 0.6, 0.4)


def case(name):
    text, points, batch = CASES[name]
    program = open_program(opdsl.diagnostics.Source(f"{name}.op", text), Path())
    most = plan_memory(program, {"D": points}, "1 TB", batch, "cpu")
    kept = most.planned.attempts[0].choice.peak
    a = torch.randn(batch, 1, *points)
    rows = []
    for part in PARTS:
        limit = f"{int(part * kept)} B"
        report = plan_memory(program, {"D": points}, limit, batch, "cpu")
        chosen = report.planned.chosen
        if chosen is None:
            rows.append({"part": part, "refused": report.refusal().diagnostics[0].message})
            continue
        training = opdsl.prepare_training(
            text,
            data={"a": a, "u": a.sin()},
            valid="none",
            batch=batch,
            device="cpu",
            warn=lambda _: None,
        )
        # as `memory = limit` would do, without planning a second time
        training.step.parts = chosen.choice.parts
        training.step.module.recompute(SegmentPlan(chosen.choice.segments))
        step = training.step
        step.begin()
        some = next(iter(training.batches(epoch=0)))
        step.learn(some, 1e-3)  # the moments are there from now on
        seconds = []
        for _ in range(STEPS):
            begin = time.process_time()  # other programs may run on the machine
            step.learn(some, 1e-3)
            seconds.append(time.process_time() - begin)
        state = report.state
        # at the beginning of a step weights, moments and batch are alive; gradients are not
        before = state.weights + state.optimizer + state.batch
        step.optimizer.zero_grad(set_to_none=True)
        measured = before + allocated(lambda s=step, b=some: s.learn(b, 1e-3))
        rows.append(
            {
                "part": part,
                "limit": int(part * kept),
                "measures": measures(chosen),
                "predicted": chosen.choice.peak,
                "measured": measured,
                "seconds": statistics.median(seconds),
            }
        )
    return {"name": name, "points": points, "batch": batch, "rows": rows}


def table(cases):
    mib = 2**20
    lines = [
        "# Training steps within a limit of memory",
        "",
        "Written by `benchmarks/memory.py`: float32, one core, AdamW. Peaks are those of",
        "torch's allocator with weights, gradients, moments and batch, in MiB; limits are parts of",
        "the memory of a step that keeps everything. Times are those of the processor, relative to",
        "that step; they vary by some ten percent between runs.",
        "",
        "| operator | limit | measures | predicted | measured | predicted / measured | time |",
        "|---|---|---|---|---|---|---|",
    ]
    for x in cases:
        base = next(r["seconds"] for r in x["rows"] if "seconds" in r)
        size = "×".join(map(str, x["points"]))
        for r in x["rows"]:
            head = f"{x['name']}, {size}, batch {x['batch']}"
            if "refused" in r:
                lines.append(f"| {head} | {r['part']:.0%} | refused: {r['refused']} | | | | |")
                continue
            lines.append(
                f"| {head} | {r['limit'] / mib:.1f} ({r['part']:.0%}) | {r['measures']} | "
                f"{r['predicted'] / mib:.1f} | {r['measured'] / mib:.1f} | "
                f"{r['predicted'] / r['measured']:.3f} | {r['seconds'] / base:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main():
    torch.set_num_threads(1)
    cases = []
    for name in CASES:
        cases.append(case(name))
        print(table(cases[-1:]), flush=True)
    (RESULTS / "memory.json").write_text(json.dumps(cases, indent=1) + "\n")
    (RESULTS / "memory.md").write_text(table(cases))
    print(table(cases))


if __name__ == "__main__":
    main()
