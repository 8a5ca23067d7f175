"""How fast exported files are beside the model itself.

    OMP_NUM_THREADS=1 python benchmarks/exported_rates.py

An FNO on 64x64 points, 16 modes, width 32, four layers, in float32, forward alone. The model as it
is (fused, in kernels of its own), the same node by node, and each format of `opdsl export`, with
sizes free, traced at others, and for these sizes only. All run in one process, in turn, on one
thread; the least time of several counts. The table has times relative to the model as it is, and
the greatest difference from it; it is written to `results/exported_rates.md`.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import opdsl
from opdsl.lower.exported import FORMATS, ExportCall, Subject, export

REPEATS = 9
BATCHES = (1, 16)
POINTS = 64
TRACED = ExportCall({"D": (65, 68)}, 2)  # of files whose sizes are free
OUT = Path(__file__).parent / "results" / "exported_rates.md"
SPEC = """edition 2026
from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 33)
  input a : D -> R^3
  output u : D -> R^1
  u = a |> Lift(out = 32) |> repeat 4 { FourierLayer(modes = 16) } |> Project(out = 1)
}"""
HEAD = """# Exported files beside the model

`benchmarks/exported_rates.py`: FNO, 64x64 points, 16 modes, width 32, four layers, float32, one
thread, forward alone. Time relative to the model as it is, less is faster; greatest difference from
it relative to the greatest value.

"""


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = opdsl.compile(SPEC).eval()
    with TemporaryDirectory() as folder, torch.no_grad():
        tables = [table(model, batch, Path(folder)) for batch in BATCHES]
    text = HEAD + "\n".join(tables)
    OUT.write_text(text, encoding="utf-8")
    print(text)


def table(model, batch, folder):
    """The rows of one batch."""
    x = torch.randn(batch, 3, POINTS, POINTS)
    runs = {"opdsl": lambda: model(x), "opdsl, node by node": lambda: by_node(model, x)}
    for kind in FORMATS:
        for fixed in (False, True):
            name = f"`{FORMATS[kind].suffix}`{', these sizes only' * fixed}"
            runs[name] = runner(model, kind, batch, folder, x, fixed=fixed)
            print(name, file=sys.stderr)
    expected = runs["opdsl"]()
    errors = {k: far(run(), expected) for k, run in runs.items()}
    times = measured(runs)
    rows = [f"| {k} | {t / times['opdsl']:.2f} | {errors[k]:.0e} |" for k, t in times.items()]
    return "\n".join([f"| batch {batch} | time | difference |", "|---|---|---|", *rows, ""])


def by_node(model, x):
    model.fuse = False
    try:
        return model(x)
    finally:
        model.fuse = None


def runner(model, kind, batch, folder, x, *, fixed):
    """The file of this kind as a function."""
    out = folder / f"{fixed}{batch}{FORMATS[kind].suffix}"
    subject = Subject(model.graph, model, model)
    call = ExportCall({"D": (POINTS, POINTS)}, batch) if fixed else TRACED
    export(subject, call, out, kind=kind, fixed=fixed)
    run = FORMATS[kind].open_file(out)
    return lambda: run((x,))[0]


def far(x, y):
    return ((x - y).abs().max() / y.abs().max()).item()


def measured(runs):
    """The least seconds of each, taken in turn."""
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(REPEATS):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            least[name] = min(least[name], time.perf_counter() - begun)
    return least


if __name__ == "__main__":
    main()
