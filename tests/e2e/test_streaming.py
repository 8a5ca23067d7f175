"""A data set that is read batch by batch gives the run that it gives in memory, to the bit."""

import os
import signal

import h5py
import numpy as np
import pytest
import torch

import opdsl
from opdsl import OpError
from opdsl.compiler import read
from opdsl.train.engine.loader import DeviceLoader, StreamedSet
from opdsl.train.engine.precision import policy_of
from opdsl.workflow.datasets.binding import binding_of
from opdsl.workflow.datasets.reading.in_memory import as_sources
from opdsl.workflow.datasets.reading.sources import TRAIN, Sources
from opdsl.workflow.programs.program import open_program, resolve_settings
from tests.e2e.command_line import good, run, start

RNG = np.random.default_rng(0)
CPU = policy_of("fp32", torch.device("cpu"))

PROGRAM = """edition 2026
model M {{
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 5)
  input u : D -> R^1
  output v : D -> R^1
  {feedback}
  v = u |> linear(out = 4) |> gelu() |> spectral_conv(out = 4, modes = 2) |> linear(out = 1)
}}
train M {{
  data {{ path = "{path}" test_samples = 4 {data} }}
  {rest}
  schedule constant {{ epochs = 2 }}
  batch = 3
  device = cpu
}}
"""


def pair_npz(folder):
    x = RNG.normal(size=(25, 16, 16)).astype(np.float32)
    np.savez(folder / "d.npz", x=x, y=np.roll(x, 2, 1))
    return "d.npz", "", ""


def pair_pt(folder):
    x = torch.from_numpy(RNG.normal(size=(25, 1, 16, 16)))
    torch.save({"x": x, "y": x.roll(2, 2)}, folder / "d.pt")
    return "d.pt", "", ""


def well(folder):
    x = RNG.normal(size=(25, 16, 16)).astype(np.float32)
    np.savez(folder / "d.npz", x=x, y=np.roll(x, 2, 1))
    good("data", "convert", "d.npz", "-o", "d.h5", "--input", "x", "--output", "y")
    return "d.h5", "fields { u = x  v = y }", ""


def subsampled(folder):
    return *well(folder)[:1], "fields { u = x  v = y } resolution = 8 skip = 2 samples = 17", ""


def trajectories(folder):
    x = RNG.normal(size=(7, 9, 16, 16)).astype(np.float32).cumsum(1)
    with h5py.File(folder / "d.h5", "w") as file:
        file["p"] = x
    data = 'fields { u = "p"  v = "p" } axes { p = (sample, time, x, y) } windows { every = 2 }'
    return "d.h5", data, "rollout = 2"


def one_file_each(folder):
    (folder / "d").mkdir()
    for i in range(20):
        x = RNG.normal(size=(16, 16))
        np.savez(folder / "d" / f"s_{i}.npz", u=x, v=np.roll(x, 2, 1))
    return "d/s_*.npz", "axes { u = (x, y) v = (x, y) }", ""


LAYOUTS = [pair_npz, pair_pt, well, subsampled, trajectories, one_file_each]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program(folder, layout):
    path, data, rest = layout(folder)
    feedback = "feedback v -> u" if "rollout" in rest else ""
    text = PROGRAM.format(path=path, data=data, rest=rest, feedback=feedback)
    (folder / "m.op").write_text(text)
    return text


def trained(name, *options):
    good("train", "m.op", "--out", name, *options)
    trained_run = opdsl.open_run(name)
    metrics = trained_run.metrics
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in metrics.history]
    return trained_run.module.state_dict(), rows, (metrics.valid, metrics.tests)


@pytest.mark.parametrize("layout", [pair_npz, subsampled, trajectories], ids=lambda x: x.__name__)
def test_a_run_does_not_depend_on_whether_its_data_are_in_memory(here, layout):
    program(here, layout)
    streams = ("--set", "data.memory=0 kB", "--set", "data.workers=0")
    want, got = trained("whole"), trained("streamed", *streams)
    assert want[1:] == got[1:]
    for name, x in want[0].items():
        assert torch.equal(got[0][name], x), name


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.__name__)
def test_a_streamed_set_has_the_fingerprint_and_the_samples_of_one_in_memory(here, layout):
    program(here, layout)
    opened = open_program(*read("m.op"))
    settings = resolve_settings(opened).settings
    sets = []
    for memory in ("512 MB", "0 kB"):
        data = settings.data.model_copy(update={"memory": memory})
        binding = binding_of(opened.graph, settings.model_copy(update={"data": data}))
        sets.append(binding.read(Sources(), settings.data.path, resolution=data.resolution))
    whole, streamed = sets
    assert isinstance(streamed, StreamedSet)
    assert not isinstance(whole, StreamedSet)
    assert len(whole) == len(streamed)
    assert whole.fingerprint == streamed.fingerprint
    rows = [3, 1, 2, len(whole) - 1, 0]
    some = streamed.read(rows)
    for side in ("inputs", "outputs"):
        for name, x in getattr(whole, side).items():
            assert torch.equal(getattr(some, side)[name], x[rows])


def test_the_number_of_processes_changes_nothing(here):
    program(here, trajectories)
    first, *others = [
        trained(f"w{n}", "--set", "data.memory=0 kB", "--set", f"data.workers={n}")
        for n in (0, 2, 4)
    ]
    for other in others:
        assert first[1:] == other[1:]
        assert all(torch.equal(other[0][k], x) for k, x in first[0].items())


class Shifts(torch.utils.data.Dataset):
    """Functions and their shifts, made when they are asked for."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 20

    def __getitem__(self, i):
        self.asked.append(i)
        x = torch.from_numpy(np.random.default_rng(i).normal(size=(1, 16, 16)))
        return {"u": x, "v": x.roll(2, 1)}


@pytest.mark.usefixtures("here")
def test_a_data_set_of_torch_is_read_when_it_is_needed():
    text = PROGRAM.format(path="none", data="workers = 0", rest="", feedback="")
    items = Shifts()
    runs = [
        opdsl.train(text, data=items, out=memory, **{"data.memory": memory})
        for memory in ("512 MB", "0 kB")
    ]
    whole, streamed = (x.module.state_dict() for x in runs)
    assert all(torch.equal(whole[k], x) for k, x in streamed.items())
    assert runs[0].metrics.valid[0]["rel_l2"] == runs[1].metrics.valid[0]["rel_l2"]
    assert items.asked.count(0) > 8  # at least twice for each epoch and the checks


class Broken(Shifts):
    """Its twelfth item cannot be made."""

    def __getitem__(self, i):
        if i == 12 and len(self.asked) > 60:
            raise RuntimeError("the twelfth sample is on another disk")
        return super().__getitem__(i)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_data_set_reaches_its_user(workers):
    text = PROGRAM.format(path="none", data="", rest="", feedback="")
    settings = {"data.memory": "0 kB", "data.workers": workers}
    with pytest.raises(RuntimeError, match="another disk"):
        opdsl.train(text, data=Broken(), out="r", **settings)


def with_value(layout, value, folder):
    text = program(folder, layout)
    with np.load("d.npz") as file:
        arrays = dict(file)
    arrays["y"][13, 3, 4] = value
    np.savez("d.npz", **arrays)
    return text


STREAMED = ("--set", "data.memory=0 kB")


def test_a_value_that_is_not_finite_is_found_before_training(here):
    with_value(pair_npz, np.nan, here)
    error = run("train", "m.op", "--out", "r", *STREAMED).stderr
    assert "OP0612" in error
    assert "first in sample 13" in error
    assert not (here / "r").exists()


def test_warnings_about_values_are_those_of_data_in_memory(here):
    program(here, pair_npz)
    with np.load("d.npz") as file:
        arrays = dict(file)
    arrays["y"][[3, 9]] = 0
    arrays["y"][11] *= 1e6
    np.savez("d.npz", **arrays)
    warnings = [
        [x for x in run("train", "m.op", "--out", name, *options).stderr.splitlines() if "[OP" in x]
        for name, options in (("a", ()), ("b", STREAMED))
    ]
    assert warnings[0] == warnings[1]
    assert len(warnings[0]) == 2


@pytest.mark.parametrize("layout", [well, trajectories], ids=lambda x: x.__name__)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_changes_while_it_is_read_is_one_diagnostic(here, layout, workers):
    program(here, layout)
    opened = open_program(*read("m.op"))
    settings = resolve_settings(opened).settings
    data = settings.data.model_copy(update={"memory": "0 kB", "workers": workers})
    binding = binding_of(opened.graph, settings.model_copy(update={"data": data}))
    reader = DeviceLoader.of(binding.read(Sources(), "d.h5"), CPU)
    order = [torch.tensor([i % 20]) for i in range(60)]
    batches = reader.ahead(order)
    next(batches)
    with (here / "d.h5").open("r+b") as file:
        file.truncate((here / "d.h5").stat().st_size // 2)
    with pytest.raises(OpError) as caught:
        list(batches)
    reader.close()
    (fault,) = caught.value.diagnostics
    assert fault.code == "OP0610"
    assert "changed" in fault.message


@pytest.mark.parametrize(
    "together",
    [False, True],
    ids=["the run", "its processes too"],
)
@pytest.mark.slow  # `test_cli_run` has a command that is terminated
def test_a_signal_saves_a_run_that_reads_ahead(here, together):
    program(here, pair_npz)
    settings = (*STREAMED, "--epochs", 20, "--set", "checkpoint.every=50")
    whole = trained("whole", "-q", *settings)[0]
    child = start("train", "m.op", "--out", "cut", *settings, cwd=here, group=True)
    for line in child.stderr:
        if line.startswith("epoch 1/20"):
            break
    (os.killpg if together else os.kill)(child.pid, signal.SIGTERM)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 143, stderr
    assert "stopped and saved" in stderr
    good("train", "--resume", "cut", "-q")
    again = opdsl.open_run("cut")
    assert all(torch.equal(again.module.state_dict()[k], x) for k, x in whole.items())


class Items(torch.utils.data.Dataset):
    """Given items; one may raise where a process reads it."""

    def __init__(self, items, raises=None):
        self.items, self.raises = items, raises

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        if self.raises and torch.utils.data.get_worker_info() is not None:
            raise self.raises
        return self.items[i]


class NoLength(torch.utils.data.Dataset):
    """Items of a number that nobody knows."""

    def __getitem__(self, i):
        return Shifts()[i]


def bound(data, memory="0 kB", masks="", workers=0, warn=lambda _: None):
    """Bind a data set of torch as training does."""
    text = PROGRAM.format(path="none", data=masks, rest="", feedback="").replace(
        "test_samples = 4", f'memory = "{memory}" workers = {workers}'
    )
    opened = open_program(text, "m.op")
    settings = resolve_settings(opened).settings
    sources, _ = as_sources(opened.graph, data)
    return binding_of(opened.graph, settings, warn=warn).read(sources, TRAIN)


def item(masks=None, size=16):
    x = RNG.normal(size=(1, size, size)).astype(np.float32)
    return {"u": x, "v": x} | ({} if masks is None else {"masks": masks})


MASKED = {"v": np.eye(16)}


@pytest.mark.parametrize("memory", ["512 MB", "0 kB"])
@pytest.mark.parametrize(
    ("items", "code", "text"),
    [
        ([item(MASKED), item({}), item({})], "OP0681", "item 1 has masks of []"),
        ([item({}), item(MASKED)], "OP0681", "item 1 has masks of ['v']"),
        ([item(), item(size=8)], "OP0613", "shape (1, 8, 8) in sample 1"),
    ],
    ids=["mask of the first", "mask of the second", "shapes"],
)
def test_items_that_differ_are_refused(items, code, text, memory):
    with pytest.raises(OpError) as caught:
        bound(Items(items), memory)
    assert {x.code for x in caught.value.diagnostics} == {code}
    assert text in caught.value.diagnostics[0].message


def test_a_data_set_without_a_length_is_refused():
    with pytest.raises(OpError) as caught:
        bound(NoLength())
    assert "`NoLength`, has no length" in caught.value.diagnostics[0].message


def test_what_an_item_raises_in_a_process_is_not_called_an_end_of_the_process():
    samples = bound(Items([item() for _ in range(4)], RuntimeError("no such patient")), workers=1)
    reader = DeviceLoader.of(samples, CPU)
    with pytest.raises(RuntimeError, match="no such patient"):
        list(reader.ahead([torch.tensor([0])]))
    reader.close()


def test_samples_without_values_are_one_warning_about_all():
    """There are more samples than are looked at together."""
    masks = [{"v": np.full((16, 16), i not in {0, 66, 68})} for i in range(70)]
    said = []
    for memory in ("512 MB", "0 kB"):
        found = []
        bound(Items([item(x) for x in masks]), memory, warn=found.extend)
        said.append([x.message for x in found if x.code == "OP0682"])
    assert said[0] == said[1] == ["`v` is masked everywhere in 3 samples: 0, 66, 68"]


def test_a_value_is_found_in_any_piece_of_a_data_set_of_torch():
    items = [item() for _ in range(70)]
    items[67]["v"][0, 2, 2] = np.nan
    with pytest.raises(OpError, match="first in sample 67"):
        bound(Items(items))
