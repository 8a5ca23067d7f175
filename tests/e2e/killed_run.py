"""`opdsl train`, killed at random moments while it begins, learns, validates, saves and ends.

killed_run.py FOLDER KILLS SEED    kill -9, go on, change settings half-way; then the same without
                                   kills, stopped where the record says that settings changed.

Prints as JSON what both runs left. torch is imported once: each sitting is a fork.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
import yaml

from opdsl.cli import train
from opdsl.train.run.listener import SilentListener
from opdsl.train.run.metrics_log import read_metrics
from tests.e2e.command_line import good, run

PROGRAM = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model Flow {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
  input a : D -> R^{coefficient}
  output u : D -> R^{pressure}

  u = concat(a, coords(D))
    |> Lift(out = 16)
    |> repeat 3 { FourierLayer(modes = (6, 6)) }
    |> Project(out = 1)
}

train Flow {
  data { path = "train.h5" test = "test.h5" }
  schedule cosine { epochs = 400 warmup = 1 }
  batch = 8
  symmetries = [swap(x, y), shift(x)]
  device = cpu
  checkpoint { steps = 2 }
}
"""
STEPS = 5  # in an epoch: 40 of 44 samples are learnt from


def main():
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    os.chdir(folder)
    Path("flow.op").write_text(PROGRAM)
    for name, count in (("train", 44), ("test", 4)):
        shape = ("--resolution", 17, "--samples", count, "--fine", 33, "--seed", count)
        good("data", "generate", "darcy", *shape, "--out", f"{name}.h5")
    moments = killed(kills, random.Random(seed))  # noqa: S311  no secret
    shutil.move("run", "killed")
    undisturbed(record("killed"))
    found = {"kills": len(moments), "steps": sorted(set(moments))}
    found |= {name: left(name) for name in ("killed", "run")}
    print(json.dumps(found))  # noqa: T201  the answer


def killed(kills, moments):
    """Kill so often, change settings half-way, let it finish; the last saved step at each kill."""
    window, found = None, []
    words = ("flow.op", "--out", "run")
    while len(found) < kills:
        started = time.monotonic()
        child = sitting(*words)
        if window is None:  # how long it takes to begin and to learn a little
            while len(lines()) < 2:
                time.sleep(0.01)
            window = time.monotonic() - started
        else:
            time.sleep(moments.uniform(0.3, 1.7) * window)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            found.append(saved())
        else:  # it was finished: more epochs
            assert os.WEXITSTATUS(status) == 0
        words = ("--resume", "run")
        if len(found) == kills // 2 or not os.WIFSIGNALED(status):
            words += ("--epochs", len(lines()) + 12, "--set", f"optimizer.lr={0.02 / len(found):g}")
    _, status = os.waitpid(sitting("--resume", "run", "--epochs", len(lines()) + 3), 0)
    assert status == 0
    return found


def sitting(*words):
    """A fork that trains."""
    child = os.fork()
    if child == 0:
        os._exit(run("train", *words, "-q").exit_code)
    return child


def lines():
    path = Path("run/metrics.jsonl")
    return path.read_bytes().splitlines() if path.exists() else []


def saved():
    names = [x.name for x in Path("run/checkpoints").glob("step-*")]
    return max((int(x.split("-")[1]) for x in names), default=0)


def record(folder):
    path = Path(folder, "changes.jsonl")
    return [json.loads(x) for x in path.read_text().splitlines()]


class Stop(SilentListener):
    """Ends a sitting behind a step, as a kill does."""

    def __init__(self, step):
        self.after = step

    def step(self, epoch, step, loss):
        if (epoch - 1) * STEPS + step > self.after:
            raise KeyboardInterrupt


def undisturbed(changes):
    """The run without kills, its settings changed where the record says."""
    words, listener = ("flow.op", "--out", "run"), train._listener
    for step in sorted({x["step"] for x in changes}):
        train._listener = lambda quiet, step=step: Stop(step)  # noqa: ARG005
        run("train", *words, "-q")
        assert saved() == step
        sets = [f"{x['setting']}={x['after']}" for x in changes if x["step"] == step]
        words = ("--resume", "run", *(y for x in sets for y in ("--set", x)))
    train._listener = listener
    good("train", *words, "-q")


def left(folder):
    """What a run has left, times and paths aside."""
    about = json.loads(Path(folder, "opdsl.json").read_text())
    rows = read_metrics(Path(folder))
    return {
        "weights": Path(folder, "model.safetensors").read_bytes().hex(),
        "last": _last(folder),
        "metrics": [{k: v for k, v in x.items() if k != "seconds"} for x in rows],
        "changes": record(folder),
        "settings": yaml.safe_load(Path(folder, "settings.yaml").read_text()),
        "finished": about["finished"],
        "files": sorted(x.name for x in Path(folder).iterdir() if x.name != ".lock"),
        "loose": [x.name for x in Path(folder, "checkpoints").glob(".tmp-*")],
        "report": Path(folder, "report.html").read_text().count(">schedule.epochs</td>"),
    }


def _last(folder):
    newest = max(Path(folder, "checkpoints").glob("step-*"))
    module = torch.load(newest / "state.pt", weights_only=True)["module"]
    return {k: x.view(torch.uint8).numpy().tobytes().hex() for k, x in module.items()}


if __name__ == "__main__":
    shutil.rmtree(Path(sys.argv[1]) / "run", ignore_errors=True)
    main()
