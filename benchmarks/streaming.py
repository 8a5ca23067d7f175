"""Training on data that stay in their files: memory as a function of their size, and waiting.

    OMP_NUM_THREADS=1 python benchmarks/streaming.py [--sizes 1 6] [--folder FOLDER] [--steps N]

Memory: `opdsl train` of a small model for one epoch on files of 1 GB and 6 GB (float32, 256x256
points, HDF5 as The Well lays it out), read batch by batch with one process ahead. Reported is the
greatest sum of the proportional memory (PSS) of all processes of the run, every 0.1 s, and the
greatest resident memory of one process.

Waiting: steps of `specs/fno_darcy.op` at 64x64 on 1000 samples. A step begins when the batch before
has been learnt from; waiting is the part of it until the next batch is in memory. The same steps on
data in memory stand beside, whose waiting is the time to select the rows. Writes
`results/streaming.md`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import torch
from against.tables import machine

from opdsl.compiler import read
from opdsl.train.engine.loop import Training
from opdsl.workflow.datasets.reading.sources import Sources
from opdsl.workflow.programs.program import open_program, resolve_settings

OUT = Path(__file__).parent / "results" / "streaming.md"
POINTS = 256
SAMPLE = 2 * 4 * POINTS**2  # bytes of an input and an output
PIECE = 64  # samples that are written together
WORKERS = (0, 1, 2)

PROGRAM = """edition 2026
model M {{
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 33)
  input u : D -> R^1
  output v : D -> R^1
  v = u |> linear(out = 4) |> gelu() |> linear(out = 1)
}}
train M {{
  data {{ path = "{path}" valid = 0.02 test_samples = 16 }}
  schedule constant {{ epochs = 1 }}
  batch = 16
  device = cpu
}}
"""


def write(path: Path, samples: int, points: int) -> None:
    """Write smooth functions and their shifts as The Well lays them out, piece after piece."""
    rng = np.random.default_rng(0)
    places = np.arange(points) / points
    with h5py.File(path, "w") as file:
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = ["x", "y"]
        for name in ("x", "y"):
            dimensions[name] = places.astype(np.float32)
        group, shape = file.create_group("t0_fields"), (samples, 1, points, points)
        for name, role in (("u", "input"), ("v", "output")):
            stored = group.create_dataset(name, shape, np.float32)
            stored.attrs.update(
                sample_varying=True, time_varying=True, dim_varying=[True, True], opdsl_role=role
            )
        waves = np.exp(2j * np.pi * np.outer(np.arange(1, 5), places))
        for first in range(0, samples, PIECE):
            count = min(PIECE, samples - first)
            a = rng.normal(size=(count, 4, 4)) + 1j * rng.normal(size=(count, 4, 4))
            x = np.einsum("nab,ax,by->nxy", a, waves, waves, optimize=True).real.astype(np.float32)
            group["u"][first : first + count, 0] = x
            group["v"][first : first + count, 0] = np.roll(x, points // 8, 1)


def memory(folder: Path, gigabytes: float) -> tuple[int, float, float, float]:
    """Train on a file of this size; return samples, PSS and RSS in MB, and seconds."""
    samples = int(gigabytes * 1e9 / SAMPLE)
    path = folder / f"{gigabytes:g}.h5"
    write(path, samples, POINTS)
    (folder / "m.op").write_text(PROGRAM.format(path=path.name))
    command = [sys.executable, "-m", "opdsl", "train", "m.op", "--out", f"run_{gigabytes:g}"]
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        command, cwd=folder, stdout=subprocess.DEVNULL
    )
    together, single = 0.0, 0.0
    while process.poll() is None:
        sizes = [_sizes(x) for x in _tree(process.pid)]
        together = max(together, sum(pss for pss, _ in sizes))
        single = max(single, *(rss for _, rss in sizes), 0.0)
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"the run on {gigabytes:g} GB failed")
    path.unlink()
    return samples, together, single, time.perf_counter() - began


def _tree(pid: int) -> list[int]:
    """List a process and those that it has started."""
    found = [pid]
    for x in found:
        with suppress(OSError):
            for task in Path(f"/proc/{x}/task").iterdir():
                found += [int(y) for y in (task / "children").read_text().split()]
    return found


def _sizes(pid: int) -> tuple[float, float]:
    """Return the proportional and the resident memory of a process in MB."""
    with suppress(OSError):
        rows = [x.split() for x in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
        kilobytes = {x[0]: int(x[1]) for x in rows}
        return kilobytes["Pss:"] / 1000, kilobytes["Rss:"] / 1000
    return 0.0, 0.0


class _Enough(Exception):  # noqa: N818  it ends the measurement
    """As many steps were taken as were asked for."""


def waiting(folder: Path, memory_size: str, workers: int, steps: int) -> tuple[float, float]:
    """Return the median time of a step in seconds, and the part of all time that is waiting."""
    from opdsl.train.run.listener import SilentListener
    from opdsl.workflow.training.execution import begin_run

    spec = Path(__file__).parents[1] / "specs" / "fno_darcy.op"
    sets = [
        f"data.path={folder / 'darcy.h5'}",
        f"data.test={folder / 'darcy.h5'}",
        "data.test_samples=16",
        "eval.resolutions=[64]",
        "data.resolution=64",
        "data.coordinates=ignore",
        "data.fields.a=u",
        "data.fields.u=v",
        f"data.memory={memory_size}",
        f"data.workers={workers}",
        "device=cpu",
    ]
    program = open_program(*read(str(spec)), sets=sets)
    rows: list[tuple[float, float]] = []
    loaded = Training.batches

    def timed(self, order):
        batches = loaded(self, order)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            got = time.perf_counter()
            yield batch
            rows.append((got - began, time.perf_counter() - began))
            if len(rows) == steps:
                raise _Enough

    Training.batches = timed
    try:
        with tempfile.TemporaryDirectory() as run, suppress(_Enough):
            begin_run(
                program,
                resolve_settings(program),
                Path(run),
                listener=SilentListener(),
                sources=Sources(),
            )
    finally:
        Training.batches = loaded
    later = rows[len(rows) // 5 :]  # the first ones plan and warm up
    return median(x for _, x in later), sum(x for x, _ in later) / sum(x for _, x in later)


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=float, default=[1, 6], help="GB of the files")
    parser.add_argument("--folder", type=Path, help="where the files are written for a while")
    parser.add_argument("--steps", type=int, default=60, help="steps of each case of waiting")
    arguments = parser.parse_args()
    lines = [
        "# Streaming",
        "",
        f"`benchmarks/streaming.py`: {machine()['words']} torch {machine()['torch']}.",
        "",
    ]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        lines += [
            "| file | samples | memory of all processes | of one process | seconds |",
            "|---|---|---|---|---|",
        ]
        for size in arguments.sizes:
            samples, pss, rss, seconds = memory(folder, size)
            row = f"| {size:g} GB | {samples} | {pss:.0f} MB | {rss:.0f} MB | {seconds:.0f} |"
            lines.append(row)
            print(row, flush=True)
        write(folder / "darcy.h5", 1000, 64)
        lines += ["", "| data of `fno_darcy` at 64x64 | step | waiting |", "|---|---|---|"]
        cases = [("in memory", "1 GB", 0)]
        cases += [(f"streamed, {n} processes ahead", "0 kB", n) for n in WORKERS]
        for words, memory_size, workers in cases:
            torch.manual_seed(0)
            step, part = waiting(folder, memory_size, workers, arguments.steps)
            row = f"| {words} | {1e3 * step:.0f} ms | {100 * part:.1f} % |"
            lines.append(row)
            print(row, flush=True)
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
