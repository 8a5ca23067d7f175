"""Runs in several processes that stop and go on: in worlds of other sizes, after signals, kills."""

import errno
import os
import shutil
import signal
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch

from opdsl import files
from opdsl.diagnostics import OpError
from opdsl.parallel.mesh import ProcessMesh
from opdsl.train.engine.callbacks import Callback
from opdsl.train.engine.fit import fit
from opdsl.train.engine.signals import Interrupted
from opdsl.train.run.checkpoint import CheckpointStore
from opdsl.train.run.listener import SilentListener
from tests.unit.train.toy_problem import Toy, cloud, quick
from tests.worlds import run_world

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
SIZE, EPOCHS = 13, 3  # three steps in an epoch, the last with three samples
STEPS = 3 * EPOCHS
STOP = 4  # steps that are done when the signal has its effect


class Watcher(Callback):
    """Records the samples of each step, and sends a signal to the own process before one."""

    def __init__(self, before=None, signum=signal.SIGTERM):
        self.samples, self.before, self.signum = {}, before, signum

    def on_batch(self, run, batch):
        if self.before == run.step:
            os.kill(os.getpid(), self.signum)
        if batch.counts:
            self.samples[run.step] = batch.inputs["a"][:, 0, 0].tolist()


class Scaled(Toy):
    """A module with a weight of its own beside those of its layers."""

    def __init__(self):
        super().__init__(dropout=0.0)
        self.scale = torch.nn.Parameter(torch.ones(4))

    def forward(self, a):
        return super().forward(a) * self.scale.sum()


def settings(strategy="ddp", **more):
    parallel = {"strategy": strategy}
    return quick(EPOCHS, precision="fp64", parallel=parallel, checkpoint={"keep": 9}, **more)


def trained(folder, world, strategy, resume=False, killer=None):
    """Train in the processes of this world; return weights, notes, samples of steps."""
    mesh = ProcessMesh.of_world() if world > 1 else ProcessMesh()
    torch.manual_seed(0)
    module, run = Toy(dropout=0.0), Path(folder)
    watcher = Watcher(STOP if killer == mesh.rank else None)
    saved = None
    try:
        fit(
            module,
            cloud(SIZE),
            cloud(7, seed=2),
            settings(strategy),
            run,
            meta={},
            mesh=mesh,
            callbacks=[watcher],
            resume=resume,
        )
    except Interrupted as error:
        saved = error.saved, error.exit_code
    weights = {
        k: getattr(x, "full_tensor", lambda x=x: x)() for k, x in module.state_dict().items()
    }
    return weights, watcher.samples, saved


def run(folder, world, strategy="ddp", resume=False, killer=None):
    args = str(folder), world, strategy, resume, killer
    return [trained(*args)] if world == 1 else run_world(world, trained, *args)


def samples_of(results):
    """Return the samples of each step, of all processes together."""
    steps = {}
    for _, samples, _ in results:
        for step, values in samples.items():
            steps.setdefault(step, []).extend(values)
    return {step: sorted(x) for step, x in steps.items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(tmp_path_factory.mktemp("alone") / "run", 1)


def close(weights, expected):
    assert weights.keys() == expected.keys()
    for name, x in expected.items():
        torch.testing.assert_close(weights[name], x, **CLOSE)


@pytest.mark.parametrize("strategy", [pytest.param("ddp", marks=pytest.mark.slow), "fsdp"])
def test_a_run_of_two_goes_on_in_one_and_in_four_with_the_same_batches(tmp_path, alone, strategy):
    first = run(tmp_path / "run", 2, strategy, killer=1)
    assert [x[2] for x in first] == [(True, 143)] * 2
    state = CheckpointStore(tmp_path / "run").load()
    done = state["step"]
    assert done in {STOP, STOP + 1}
    for world in (1, 4):
        copy = tmp_path / f"run{world}"
        shutil.copytree(tmp_path / "run", copy)
        rest = run(copy, world, strategy, resume=True)
        for weights, _, _ in rest:
            close(weights, alone[0][0])
        wanted = {k: x for k, x in samples_of(alone).items() if k >= done}
        assert samples_of(rest) == wanted
        assert CheckpointStore(copy).load("best")["module"].keys() == alone[0][0].keys()


def trained_with_a_mean(folder, strategy, world, epochs, resume):
    mesh = ProcessMesh.of_world() if world > 1 else ProcessMesh()
    torch.manual_seed(0)
    module, average = Scaled(), {"kind": "ema", "decay": 0.9}
    more = {"parallel": {"strategy": strategy}, "precision": "fp64", "average": average}
    data = cloud(SIZE), cloud(7, seed=2)
    fit(module, *data, quick(epochs, **more), Path(folder), meta={}, mesh=mesh, resume=resume)
    best = CheckpointStore(Path(folder)).load("best")["module"]
    return best, CheckpointStore(Path(folder)).load()["average"]["values"]


def test_the_mean_of_divided_weights_is_saved_and_goes_on_in_one_process(tmp_path):
    args = str(tmp_path / "alone"), "ddp", 1
    trained_with_a_mean(*args, 2, False)
    expected = trained_with_a_mean(*args, 3, True)
    run_world(2, trained_with_a_mean, str(tmp_path / "run"), "fsdp", 2, 2, False)
    found = trained_with_a_mean(str(tmp_path / "run"), "ddp", 1, 3, True)
    for weights, wanted in zip(found, expected, strict=True):
        close(weights, wanted)


# ------------------------------------------------------------------------------------------ disks


FULL = "No space left on device"


class Notes(SilentListener):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@contextmanager
def full_disk(first, last):
    """Refuse to write the checkpoints of some steps in this process."""
    write = files.os.write
    step = {}

    def refuse(handle, data):
        if first <= step["now"] < last:
            raise OSError(errno.ENOSPC, FULL)
        return write(handle, data)

    def watched(publish):
        def call(store, *args):
            step["now"] = next(x for x in args if isinstance(x, int))
            files.os.write = refuse
            try:
                return publish(store, *args)
            finally:
                files.os.write = write

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "publish"):
            patch.setattr(CheckpointStore, name, watched(getattr(CheckpointStore, name)))
        yield


def trained_on_a_full_disk(folder, rank, first, last, strategy):
    mesh, listener = ProcessMesh.of_world(), Notes()
    torch.manual_seed(0)
    module = Toy(dropout=0.0)
    failure = None
    try:
        with full_disk(first, last) if mesh.rank == rank else nullcontext():
            fit(
                module,
                cloud(SIZE),
                None,
                settings(strategy),
                Path(folder),
                meta={},
                mesh=mesh,
                listener=listener,
            )
    except OpError as error:
        failure = error.diagnostics[0].code, error.diagnostics[0].message
    return failure, listener.notes


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_full_disk_costs_a_note_in_several_processes(tmp_path, strategy):
    args = str(tmp_path / "run"), 0, 4, 7, strategy
    results = run_world(2, trained_on_a_full_disk, *args)
    where = "process 0: " if strategy == "fsdp" else ""
    note = f"no checkpoint at step 6: {where}{FULL}; the earlier ones are intact"
    assert results == [(None, [note]), (None, [])]
    names = [x.name for x in CheckpointStore(tmp_path / "run").paths()]
    assert names == ["step-00000009", "step-00000003"]


def test_a_disk_that_is_full_at_the_end_is_an_error_of_all_processes(tmp_path):
    args = str(tmp_path / "run"), 0, 4, 99, "ddp"
    results = run_world(2, trained_on_a_full_disk, *args)
    failure = "OP0625", f"the last checkpoint could not be written: {FULL}"
    assert [x for x, _ in results] == [failure] * 2
    names = [x.name for x in CheckpointStore(tmp_path / "run").paths()]
    assert names == ["step-00000003"]
