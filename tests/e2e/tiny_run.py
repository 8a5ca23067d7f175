"""A run small enough to be killed a hundred times; started by test_faults.py as a process.

tiny_run.py train RUN [--resume] [--epochs N] [--slow]   one run, prints its hash
tiny_run.py kills RUN COUNT SEED                         kill -9 at random moments, then finish
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from opdsl.diagnostics import CODES, OpError
from opdsl.train.config.schema import Checkpoint, Optimizer, Schedule, Settings
from opdsl.train.engine.fit import fit
from opdsl.train.engine.signals import Interrupted
from opdsl.train.run.listener import SilentListener
from opdsl.train.run.metrics_log import read_metrics


@dataclass(frozen=True)
class Samples:
    inputs: dict
    outputs: dict
    name: str = "tiny"
    fingerprint: str = "tiny-1"
    resolution: tuple = (8,)

    def __len__(self):
        return len(self.inputs["a"])


class Tiny(nn.Module):
    """Dropout makes the random generators matter."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))

    def forward(self, a):
        return self.layers(a.mT).mT


class Slow(SilentListener):
    """Says on stdout that a step is done, and gives the world time to interfere."""

    def step(self, epoch, step, loss):
        print(f"{epoch}.{step}", flush=True)  # noqa: T201  the test listens
        time.sleep(0.02)


def samples(seed):
    a = torch.randn(10, 2, 8, generator=torch.Generator().manual_seed(seed))
    return Samples({"a": a}, {"u": a[:, :1] * a[:, 1:] + 2})


def settings(epochs, every_step):
    return Settings(
        optimizer=Optimizer(lr=0.01),
        schedule=Schedule(epochs=epochs, warmup=1),
        batch=3,
        device="cpu",
        checkpoint=Checkpoint(steps=1 if every_step else None, keep=2),
    )


def train(run, *, resume=False, epochs=8, listener=None, every_step=True):
    torch.set_num_threads(1)
    torch.manual_seed(3)
    module = Tiny()
    fit(
        module,
        samples(1),
        samples(2),
        settings(epochs, every_step),
        run,
        periodic={"u": (True,)},
        meta={"arch": "tiny"},
        resume=resume,
        listener=listener,
    )
    return fingerprint(module, run)


def fingerprint(module, run):
    """A hash of the weights and of every metric that is not a time."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode() + value.numpy().tobytes())
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)]
    digest.update(json.dumps(rows, sort_keys=True).encode())
    return digest.hexdigest()


def kills(run, count, seed):
    """Fork, kill, begin again: torch is imported once. Returns the kills and the hash."""
    moments, done = random.Random(seed), 0  # noqa: S311  no secret
    while done < count:
        child = os.fork()
        if child == 0:
            train(run, resume=True)
            os._exit(0)
        time.sleep(moments.uniform(0.005, 0.05))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            break
        done += 1
    return done, train(run, resume=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    parser.add_argument("run", type=Path)
    parser.add_argument("numbers", type=int, nargs="*")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--sparse", action="store_true")
    given = parser.parse_args()
    if given.what == "kills":
        print(*kills(given.run, *given.numbers))  # noqa: T201  the answer
        return 0
    listener = Slow() if given.slow else None
    try:
        found = train(
            given.run,
            resume=given.resume,
            epochs=given.epochs,
            listener=listener,
            every_step=not given.sparse,
        )
    except Interrupted as stop:
        return stop.exit_code
    except OpError as error:
        told = error.diagnostics[0]
        print(told.code, told.message, file=sys.stderr)  # noqa: T201  as the CLI does
        return CODES[told.code].exit
    print(found)  # noqa: T201  the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
