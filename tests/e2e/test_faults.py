"""What the world does to a run: kill -9, signals, full disks, flipped bits, bad numbers."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import opdsl
from opdsl import files
from opdsl.diagnostics import OpError
from opdsl.train.engine.fit import fit
from opdsl.train.run.checkpoint import CheckpointStore
from opdsl.train.run.listener import SilentListener
from tests.e2e.tiny_run import Tiny, samples, settings, train

WORKER = Path(__file__).with_name("tiny_run.py")
ROOT = Path(opdsl.__file__).parents[1]  # the package may stand in a bare checkout
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start(*arguments):
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT)  # noqa: S603  our own script


def run_worker(*arguments):
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.split()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(tmp_path_factory.mktemp("undisturbed") / "run")


# ---------------------------------------------------------------------------------- kill -9


@pytest.mark.parametrize("seed", [1, *(pytest.param(x, marks=pytest.mark.slow) for x in (2, 3, 4))])
def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path, undisturbed, seed):
    kills, found = run_worker("kills", tmp_path / "run", 10, seed)
    assert int(kills) >= 3
    assert found == undisturbed
    assert not list((tmp_path / "run" / "checkpoints").glob(".tmp-*"))


# ---------------------------------------------------------------------------------- signals


def interrupt(run, *signums, after="2.3"):
    """Start a slow run, signal it after a step, and return its exit code."""
    process = start("train", run, "--slow", "--sparse")
    for line in process.stdout:
        if line.strip() == after:
            break
    for signum in signums:
        process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode


@pytest.mark.parametrize(
    ("signum", "code"),
    [
        (signal.SIGINT, 130),
        # `test_cli_run` has a command that is terminated
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_the_run_goes_on_with_the_same_bits(tmp_path, undisturbed, signum, code):
    run = tmp_path / "run"
    assert interrupt(run, signum) == code
    newest = CheckpointStore(run).load()
    assert newest["progress"]["epoch"] == 1  # in the second epoch, not at its end
    assert newest["progress"]["position"] in {3, 4}
    assert train(run, resume=True) == undisturbed


# ---------------------------------------------------------------------------------- disks


def test_a_full_disk_costs_a_note_and_not_the_run(tmp_path, undisturbed, monkeypatch):
    run, write, full = tmp_path / "run", os.write, {"now": False}

    def maybe_full(handle, data):
        if full["now"]:
            raise OSError(28, "No space left on device")
        return write(handle, data)

    class Filling(SilentListener):
        def __init__(self):
            self.notes = []

        def step(self, epoch, step, loss):
            full["now"] = 3 <= epoch <= 5

        def note(self, text):
            self.notes.append(text)

    monkeypatch.setattr(files.os, "write", maybe_full)
    listener = Filling()
    assert train(run, listener=listener) == undisturbed  # the metrics of these epochs included
    assert any("No space left on device; the earlier ones are intact" in x for x in listener.notes)
    assert CheckpointStore(run).load()["epoch"] == 8


def test_a_disk_full_to_the_end_is_told_at_the_end(tmp_path, monkeypatch):
    run = tmp_path / "run"
    train(run, epochs=2)
    before = CheckpointStore(run).load()

    def full(handle, data):  # noqa: ARG001  the signature of os.write
        raise OSError(28, "No space left on device")

    class FullLater(SilentListener):
        def step(self, epoch, step, loss):
            monkeypatch.setattr(files.os, "write", full)

    with pytest.raises(OpError) as caught:
        train(run, resume=True, epochs=4, listener=FullLater())
    (told,) = caught.value.diagnostics
    assert told.code == "OP0625"
    assert told.message == "the last checkpoint could not be written: No space left on device"
    assert CheckpointStore(run).load()["step"] == before["step"]
    assert not list(
        CheckpointStore(run).folder.glob(".tmp-*")
    )  # no half checkpoint fills the disk further


@contextmanager
def small_disk(folder, size):
    """A file system of `size` bytes, where the system lets us make one."""
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or not mount or subprocess.run(command, check=False).returncode:  # noqa: S603  a fixed command
        pytest.skip("mounting a small file system needs root and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run([shutil.which("umount"), str(folder)], check=True)  # noqa: S603  a fixed command


def test_a_disk_that_is_really_full_leaves_the_earlier_checkpoint(tmp_path):
    with small_disk(tmp_path / "disk", "256k") as disk:
        run = disk / "run"
        train(run, epochs=1)

        class Hog(SilentListener):
            def __init__(self):
                self.notes = []

            def step(self, epoch, step, loss):
                if not (disk / "hog").exists():
                    fill(disk / "hog")

            def note(self, text):
                self.notes.append(text)

        hog = Hog()
        with pytest.raises(OpError) as caught:
            train(run, resume=True, epochs=3, listener=hog)
        assert caught.value.diagnostics[0].code == "OP0625"
        assert any("No space left" in x for x in hog.notes)
        assert CheckpointStore(run).load()["epoch"] == 1


def fill(path):
    """Write until there is no room for another page."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return


# ---------------------------------------------------------------------------------- bits


def test_a_flipped_bit_falls_back_to_the_checkpoint_before(tmp_path, undisturbed):
    run = tmp_path / "run"
    interrupted = train(run, epochs=8)
    assert interrupted == undisturbed
    newest, before = CheckpointStore(run).paths()
    flip(newest / "state.pt", 4321)
    notes = []
    assert CheckpointStore(run).load(note=notes.append)["step"] == int(before.name.split("-")[1])
    assert "is damaged (its content is not what was written)" in notes[0]
    assert train(run, resume=True) == undisturbed


def test_no_flip_of_any_kind_goes_unseen(tmp_path):
    run = tmp_path / "run"
    train(run, epochs=1)
    newest, before = CheckpointStore(run).paths()
    size = (newest / "state.pt").stat().st_size
    for bit in range(0, size * 8, size * 8 // 60):
        flip(newest / "state.pt", bit)
        assert CheckpointStore(run).load()["step"] == int(before.name.split("-")[1])
        flip(newest / "state.pt", bit)
    assert CheckpointStore(run).load()["step"] == int(newest.name.split("-")[1])


@pytest.mark.parametrize("name", ["state.pt", "MANIFEST.json"])
@pytest.mark.parametrize("harm", ["cut", "empty", "gone"])
def test_a_torn_file_falls_back_too(tmp_path, name, harm):
    run = tmp_path / "run"
    train(run, epochs=1)
    newest, before = CheckpointStore(run).paths()
    harm_file(newest / name, harm)
    assert CheckpointStore(run).load()["step"] == int(before.name.split("-")[1])


def test_nothing_but_damage_is_told(tmp_path):
    run = tmp_path / "run"
    train(run, epochs=1)
    for path in CheckpointStore(run).paths():
        flip(path / "state.pt", 100)
    with pytest.raises(OpError) as caught:
        train(run, resume=True)
    assert caught.value.diagnostics[0].code == "OP0621"


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def harm_file(path, harm):
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9] if harm == "cut" else b"")


# ---------------------------------------------------------------------------------- numbers


def poisoned(rows):
    made = samples(1)
    made.inputs["a"][rows] = float("nan")
    return made


def fit_tiny(run, data):
    torch.manual_seed(3)
    whole = {"normalise": {"inputs": False, "outputs": False}}  # statistics would spread the NaN
    made = settings(4, every_step=True).model_dump() | whole
    made = type(settings(4, every_step=True)).model_validate(made)
    return fit(Tiny(), data, samples(2), made, run, periodic={"u": (True,)}, meta={"arch": "tiny"})


def test_one_bad_sample_costs_its_steps_and_is_counted(tmp_path):
    outcome = fit_tiny(tmp_path / "run", poisoned([4]))
    assert outcome.skipped == 4  # one step in each epoch
    assert [row["skipped"] for row in outcome.history] == [1, 1, 1, 1]
    weights = CheckpointStore(tmp_path / "run").load()["module"]
    assert all(torch.isfinite(x).all() for x in weights.values())


def test_bad_steps_in_a_row_stop_the_run_and_name_the_samples(tmp_path):
    with pytest.raises(OpError) as caught:
        fit_tiny(tmp_path / "run", poisoned(slice(None)))
    (told,) = caught.value.diagnostics
    assert told.code == "OP0620"
    assert told.message == ("5 steps in a row had no finite loss, the last in epoch 2, step 1 of 4")
    indices = told.notes[0].removeprefix("samples of that step: ").split(", ")
    assert len(indices) == 3
    assert set(map(int, indices)) < set(range(10))
