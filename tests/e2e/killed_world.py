"""`opdsl train` in several processes, of which one is killed, or some are terminated.

killed_world.py FOLDER kill COUNT SEED STRATEGY    kill -9 of one process, then go on
killed_world.py FOLDER term COUNT SEED STRATEGY    SIGTERM to one or all, then go on

Prints as lines of JSON what a run left that nothing disturbed, then what the others left. torch is
imported once: each
process is a fork, with the environment that `opdsl train --nproc` gives it.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

# so that forks need not import them
import opdsl.parallel.sharded_weights
import opdsl.train.run.sharded.world
import opdsl.workflow.report.run_report
import opdsl.workflow.training.execution  # noqa: F401
from opdsl.cli import main as opdsl_main
from opdsl.parallel import finishing
from opdsl.parallel.launch import FOLDER
from opdsl.train.run.checkpoint import CheckpointStore
from opdsl.train.run.metrics_log import read_metrics
from tests.e2e.command_line import TINY, good

TRAIN = """
train Tiny {
  data { path = "train.h5" valid = 0.2 coordinates = "ignore" }
  optimizer adamw { lr = 1e-2 }
  schedule cosine { epochs = 5 warmup = 1 }
  batch = 5
  noise = 0.01
  average ema { decay = 0.9 }
  device = cpu
  checkpoint { steps = 2 }
  parallel { strategy = STRATEGY }
}
"""
WORLD = 2
NEW, RUN = ("train", "tiny.op", "--out", "run", "-q"), Path("run")
PATIENCE = 600.0  # seconds until processes are taken to hang


def main():
    folder, mode, count, seed, strategy = sys.argv[1:]
    torch.set_num_threads(1)
    os.chdir(folder)
    write_case(strategy)
    children = processes(NEW)
    wait_for(RUN)
    start = time.monotonic()
    wait_for(RUN / "checkpoints" / "step-00000020")
    duration = time.monotonic() - start
    assert ended(children) == [0] * WORLD, texts()
    shutil.move("run", "whole")
    trial = killed if mode == "kill" else terminated
    moments = random.Random(int(seed))  # noqa: S311  no secret
    print(json.dumps(left("whole")), flush=True)  # noqa: T201  the answer
    for _ in range(int(count)):
        print(json.dumps(trial(moments, duration)), flush=True)  # noqa: T201  as above


def write_case(strategy, epochs=5):
    """Write program and data into the working folder."""
    text = TINY + TRAIN.replace("STRATEGY", strategy).replace("epochs = 5", f"epochs = {epochs}")
    Path("tiny.op").write_text(text)
    good("fmt", "tiny.op")
    shape = ("--resolution", 9, "--samples", 24, "--fine", 17, "--seed", 1)
    good("data", "generate", "darcy", *shape, "--out", "train.h5")


def killed(moments, duration):
    """Kill one process at a random moment, look how the others end, go on in a new world."""
    while True:
        shutil.rmtree(RUN, ignore_errors=True)
        children = processes(NEW)
        victim = moments.randrange(WORLD)
        wait_for(RUN)
        time.sleep(moments.uniform(0, duration))
        os.kill(children[victim], signal.SIGKILL)
        codes = ended(children)
        if codes[victim] == -signal.SIGKILL:
            break
    result = {"codes": codes, "victim": victim, **saved(), "errors": texts()}
    return result | gone_on()


def terminated(moments, duration):
    """Terminate one process or all at a random moment, and go on in a new world."""
    while True:
        shutil.rmtree(RUN, ignore_errors=True)
        children = processes(NEW)
        wait_for(RUN / "metrics.jsonl")  # training has begun
        time.sleep(moments.uniform(0, duration / 2))
        some = moments.choice([[0], [1], [0, 1]])
        for i in some:
            os.kill(children[i], signal.SIGTERM)
        codes = ended(children)
        if codes != [0] * WORLD:
            break
    result = {"codes": codes, "to": some, **saved(), "errors": texts()}
    return result | gone_on()


def gone_on():
    """Go on with the run, and return what it left."""
    again = ("train", "--resume", "run", "-q") if RUN.joinpath("opdsl.json").exists() else NEW
    codes = ended(processes(again))
    assert codes == [0] * WORLD, (codes, again, texts())
    return {"left": left("run")}


def wait_for(path):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"no {path}: {texts()}"
        time.sleep(0.005)


def processes(words):
    """Fork the processes of a command, which notice soon that the first one is gone."""
    finishing.BEAT, finishing.SILENCE = 1.0, 10.0
    meeting = tempfile.mkdtemp(dir=".", prefix="meeting-")
    children = []
    for rank in range(WORLD):
        child = os.fork()
        if child == 0:
            about = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": WORLD,
                "LOCAL_WORLD_SIZE": WORLD,
            }
            os.environ |= {k: str(x) for k, x in about.items()} | {FOLDER: meeting}
            output = os.open(f"output-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.argv = ["opdsl", *map(str, words)]
            try:
                opdsl_main()
                os._exit(0)
            except SystemExit as stop:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(stop.code or 0)
        children.append(child)
    return children


def ended(children):
    """Return the exit codes, negative for signals; no process may hang."""
    codes, end = {}, time.monotonic() + PATIENCE
    while len(codes) < len(children):
        assert time.monotonic() < end, f"a process hangs: {texts()}"
        for child in set(children) - codes.keys():
            gone, status = os.waitpid(child, os.WNOHANG)
            if gone:
                codes[child] = os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return [codes[x] for x in children]


def texts():
    """Return what the processes have printed."""
    return [Path(f"output-{rank}").read_text() for rank in range(WORLD)]


def saved():
    """Return the step in the name of the newest checkpoint, and that in its content."""
    store = CheckpointStore(RUN)
    step = max((int(x.name.split("-")[1]) for x in store.paths()), default=0)
    state = store.load(values=True) or {"step": 0, "progress": {"position": 0}}
    return {"step": step, "saved": state["step"], "position": state["progress"]["position"]}


def left(folder):
    """Return what a run has left, times aside."""
    state = CheckpointStore(Path(folder)).load()
    rows = [{k: x for k, x in row.items() if k != "seconds"} for row in read_metrics(Path(folder))]
    tensors = [*state["module"].values(), *state["average"]["values"].values()]
    data = b"".join(x.contiguous().numpy().tobytes() for x in tensors)
    return {
        "last": hashlib.sha256(data).hexdigest(),
        "best": hashlib.sha256(Path(folder, "model.safetensors").read_bytes()).hexdigest(),
        "step": state["step"],
        "rows": rows,
        "loose": [x.name for x in Path(folder, "checkpoints").glob(".tmp-*")],
    }


if __name__ == "__main__":
    main()
