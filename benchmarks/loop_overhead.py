"""What the training loop costs beside a loop written by hand for the same module.

`opdsl.train` trains a program on random fields; after each of its steps a step is taken by hand, on
a copy of the module with an optimizer of its own: batch by index, inputs and outputs normalised,
relative L2 loss, gradient, AdamW and a cosine rate. The loop of opdsl also skips steps without a
finite gradient, watches for signals, records loss and norm of the gradient, and writes its log and
a checkpoint after each epoch.

Steps of both follow each other in one process, so that both see an equal load of the machine.
`step` is the median of the ratios of processor times of two steps that follow each other; `run`
divides the sums, so that log and checkpoints count too.

    python benchmarks/loop_overhead.py
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from against.tables import machine
from torch import Tensor

import opdsl

HERE = Path(__file__).parent
OUT = HERE / "results" / "loop_overhead.md"
CASES = {  # program, points of an axis, samples
    "specs/darcy_small.op": (16, 320),
    "benchmarks/darcy_tucker.op": (16, 320),
    "specs/fno_darcy.op": (33, 160),
}
BATCH = 16
WARM_UP = 20  # steps that plan kernels and fill caches


class ByHand(opdsl.Callback):
    """Trains a copy of the module by hand, step by step, and takes the time of both."""

    def __init__(self, a: Tensor, u: Tensor, steps: int) -> None:
        self.a, self.u, self.steps = a, u, steps
        self.mean_a, self.std_a, self.mean_u, self.std_u = a.mean(), a.std(), u.mean(), u.std()
        self.rows: list[Tensor] = []
        self.ours: list[float] = []
        self.by_hand: list[float] = []

    def on_start(self, run: opdsl.ActiveRun) -> None:
        """Copy the module before its first step."""
        self.module = copy.deepcopy(run.module).train()
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-3, weight_decay=1e-4)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, self.steps)
        self.ended = time.process_time()

    def on_step(self, run: opdsl.ActiveRun, result: object) -> None:  # noqa: ARG002  a hook
        """Take the time of the step, then take one by hand."""
        now = time.process_time()
        self.ours.append(now - self.ended)
        self.step()
        self.ended = time.process_time()
        self.by_hand.append(self.ended - now)

    def step(self) -> None:
        """Take a step by hand."""
        if not self.rows:
            self.rows = list(torch.randperm(len(self.a)).split(BATCH))
        rows = self.rows.pop()
        self.optimizer.zero_grad()
        pred = self.module((self.a[rows] - self.mean_a) / self.std_a) * self.std_u + self.mean_u
        true = self.u[rows]
        gap = (pred - true).flatten(1).norm(dim=1) / true.flatten(1).norm(dim=1)
        gap.mean().backward()
        self.optimizer.step()
        self.schedule.step()


def measure(program: Path, points: int, samples: int, epochs: int) -> tuple[float, float, float]:
    """Return the ratios of `step` and of `run`, and milliseconds of a step by hand."""
    graph = opdsl.load(program)
    torch.manual_seed(0)
    a, u = torch.rand(2, samples, 1, points, points)
    by_hand = ByHand(a, u, epochs * -(-samples // BATCH))
    names = graph.inputs[0].name, graph.outputs[0].name
    with tempfile.TemporaryDirectory() as folder:
        opdsl.train(
            program,
            data=dict(zip(names, (a, u), strict=True)),
            valid="none",
            out=Path(folder) / "run",
            callbacks=[by_hand],
            epochs=epochs,
            batch=BATCH,
            loss="l2",
            schedule={"kind": "cosine"},
            optimizer={"kind": "adamw", "lr": 1e-3},
            symmetries=[],
            device="cpu",
            warn=lambda _: None,
        )
    pairs = list(zip(by_hand.ours, by_hand.by_hand, strict=True))[WARM_UP:]
    ours, hand = (sum(x) for x in zip(*pairs, strict=True))
    return median(x / y for x, y in pairs), ours / hand, median(by_hand.by_hand) * 1e3


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    epochs = parser.parse_args().epochs
    torch.set_num_threads(1)
    lines = [
        "# Overhead of the training loop",
        "",
        f"`benchmarks/loop_overhead.py`: {machine()['words']} torch {machine()['torch']}.",
        f"Processor time of {epochs} epochs, divided by that of a loop by hand.",
        "",
        "| program | grid | step by hand | step | run |",
        "|---|---|---|---|---|",
    ]
    for name, (points, samples) in CASES.items():
        step, run, ms = measure(HERE.parent / name, points, samples, epochs)
        row = f"| `{name}` | {points}x{points} | {ms:.0f} ms | {step:.3f} | {run:.3f} |"
        print(row, flush=True)
        lines.append(row)
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
