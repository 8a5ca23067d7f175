"""What the training loop costs beside a loop written by hand for the same module.

`opdsl.train` trains a program on random fields; after each of its epochs the same number of epochs
is trained by hand, on a copy of the module with an optimizer of its own: batches by index, inputs
and outputs normalised, relative L2 loss, gradient, AdamW and a cosine rate. The loop of opdsl also
skips steps without a finite gradient, watches for signals, records loss and norm of the gradient,
and writes its log and a checkpoint after each epoch.

Epochs of both follow each other in one process, so that both see an equal load of the machine; a
figure is the median over the epochs of the ratio of processor times. `steps` counts the epoch
alone; `all` counts log and checkpoint too.

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
from torch import Tensor, nn

import opdsl

HERE = Path(__file__).parent
OUT = HERE / "results" / "loop_overhead.md"
CASES = {  # program, points of an axis, samples
    "specs/darcy_small.op": (16, 320),
    "benchmarks/darcy_tucker.op": (16, 320),
    "specs/fno_darcy.op": (33, 160),
}
BATCH = 16


class ByHand(opdsl.Callback):
    """Trains a copy of the module by hand after each epoch, and takes the time of both."""

    def __init__(self, a: Tensor, u: Tensor, epochs: int) -> None:
        self.a, self.u, self.epochs = a, u, epochs
        self.ratios: list[tuple[float, float]] = []
        self.seconds = 0.0

    def on_start(self, run: opdsl.ActiveRun) -> None:
        """Copy the module before its first step."""
        self.module = copy.deepcopy(run.module)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-3, weight_decay=1e-4)
        steps = self.epochs * -(-len(self.a) // BATCH)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self.ended = time.process_time()

    def on_epoch_start(self, run: opdsl.ActiveRun) -> None:  # noqa: ARG002  a hook
        """Take the time before the first step."""
        self.began = time.process_time()

    def on_epoch(self, run: opdsl.ActiveRun, row: object) -> None:  # noqa: ARG002  a hook
        """Take the time of the epoch, then train one by hand."""
        now = time.process_time()
        steps, everything = now - self.began, now - self.ended
        train_by_hand(self.module, self.optimizer, self.schedule, self.a, self.u)
        self.ended = time.process_time()
        self.seconds = self.ended - now
        self.ratios.append((steps / self.seconds, everything / self.seconds))


def train_by_hand(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    a: Tensor,
    u: Tensor,
) -> None:
    """Train one epoch."""
    mean_a, std_a, mean_u, std_u = a.mean(), a.std(), u.mean(), u.std()
    for rows in torch.randperm(len(a)).split(BATCH):
        optimizer.zero_grad()
        pred = module((a[rows] - mean_a) / std_a) * std_u + mean_u
        gap = (pred - u[rows]).flatten(1).norm(dim=1) / u[rows].flatten(1).norm(dim=1)
        gap.mean().backward()
        optimizer.step()
        schedule.step()


def measure(program: Path, points: int, samples: int, epochs: int) -> tuple[float, float, float]:
    """Return the ratios of `steps` and of `all`, and milliseconds of a step by hand."""
    graph = opdsl.load(program)
    torch.manual_seed(0)
    a, u = torch.rand(2, samples, 1, points, points)
    by_hand = ByHand(a, u, epochs)
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
    later = by_hand.ratios[2:]  # the first epochs plan kernels and warm up
    steps, everything = (median(x) for x in zip(*later, strict=True))
    return steps, everything, by_hand.seconds / -(-samples // BATCH) * 1e3


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    epochs = parser.parse_args().epochs
    torch.set_num_threads(1)
    lines = [
        "# Overhead of the training loop",
        "",
        f"`benchmarks/loop_overhead.py`: {machine()['words']} torch {machine()['torch']}. Medians",
        f"over {epochs - 2} epochs of processor time, divided by that of a loop by hand.",
        "",
        "| program | grid | step by hand | steps | all |",
        "|---|---|---|---|---|",
    ]
    for name, (points, samples) in CASES.items():
        steps, everything, ms = measure(HERE.parent / name, points, samples, epochs)
        row = f"| `{name}` | {points}x{points} | {ms:.0f} ms | {steps:.3f} | {everything:.3f} |"
        print(row, flush=True)
        lines.append(row)
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
