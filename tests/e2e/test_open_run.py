"""`opdsl.open_run`: a trained run from Python, and weights that refuse to be used without it."""

import copy
import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, load_model, save_file

import opdsl
from opdsl import Geometry, OpError, Packed
from opdsl.data import open_dataset
from tests.e2e.command_line import data, environment, good, run

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests/fixtures/c7bf416"


def code(raised):
    (diagnostic,) = raised.value.diagnostics
    return diagnostic.code


def text(raised):
    return str(raised.value)


@pytest.fixture(scope="module")
def opened(trained):
    """A run of this version."""
    return opdsl.open_run(trained)


@pytest.fixture(scope="module")
def inputs(trained):
    """The samples that chose the weights of the run, which has no test data."""
    return open_dataset(trained.parent / "d.h5", resolution=9).values["coefficient"].float()[-3:]


@pytest.fixture(scope="module")
def told(trained, tmp_path_factory):
    """What the command predicts for the samples."""
    out = tmp_path_factory.mktemp("told") / "out.h5"
    good("predict", trained, "--input", trained.parent / "d.h5", "--output", out)
    with h5py.File(out) as file:
        return file["t0_fields/pressure"][:].reshape(30, 17, 17)


# --------------------------------------------------------------------------------- predictions


def test_a_run_predicts_what_the_command_predicts(opened, told, trained):
    x = open_dataset(trained.parent / "d.h5").values["coefficient"].float()
    assert opened.predict(x)[:, 0].numpy() == pytest.approx(told, rel=1e-6, abs=1e-9)
    assert opened.predict(a=x.numpy())[:, 0] == pytest.approx(told, rel=1e-6, abs=1e-9)


def test_predictions_have_the_errors_that_training_reported(opened, inputs, trained):
    truth = open_dataset(trained.parent / "d.h5", resolution=9).values["pressure"].float()[-3:]
    pred = opened.predict(inputs)
    errors = (pred - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)
    (row, _) = data("evaluate", trained, "--json")["valid"]
    assert float(errors.mean()) == pytest.approx(row["rel_l2"], rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.int64])
def test_arrays_of_any_numbers_give_arrays(opened, inputs, dtype):
    x = np.round(inputs.numpy() * 4).astype(dtype)
    found = opened.predict(x)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    assert (found == opened.predict(torch.from_numpy(x.astype("f4"))).numpy()).all()


def test_views_and_read_only_arrays_are_taken(opened, inputs):
    x = inputs.numpy()[::-1, :, ::-1].copy()[::-1, :, ::-1]
    x.flags.writeable = False
    assert (opened.predict(x) == opened.predict(inputs.numpy())).all()


def test_the_size_of_batches_changes_nothing(opened, inputs):
    whole = opened.predict(inputs, batch=3)
    assert torch.allclose(opened.predict(inputs, batch=1), whole, rtol=1e-6)


def test_a_prediction_takes_no_gradient_and_leaves_the_mode(opened, inputs):
    opened.operator.train()
    found = opened.predict(inputs.clone().requires_grad_())
    assert opened.operator.training
    assert opened.module.training
    assert not found.requires_grad
    opened.operator.eval()


def test_inputs_may_be_named_in_a_dictionary_whatever_their_names(opened, inputs):
    assert torch.equal(opened.predict({"a": inputs}), opened.predict(inputs))


def test_no_samples_give_no_samples(opened, inputs):
    assert opened.predict(inputs[:0]).shape == (0, 1, 9, 9)
    assert opened.predict(inputs[:0].numpy()).shape == (0, 1, 9, 9)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda x: x.movedim(1, -1), "OP0902"),
        (lambda x: x.expand(-1, 2, -1, -1), "OP0902"),
        (lambda x: x[:, 0], "OP0901"),
        (lambda x: x[..., :4], "OP0903"),
        (lambda x: x.numpy().astype(str), "OP0905"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_normalised(opened, inputs, change, wanted):
    with pytest.raises(OpError) as raised:
        opened.predict(change(inputs))
    assert code(raised) == wanted


def test_channels_that_stand_last_are_recognised(opened, inputs):
    with pytest.raises(OpError, match=r"movedim\(-1, 1\)"):
        opened.predict(inputs.movedim(1, -1))


def test_points_of_each_sample_come_as_lists():
    points = opdsl.open_run(OLD / "runs/points")
    samples = open_dataset(OLD / "points_test.h5")
    f = [x.numpy() for x in samples.values["f"].parts]
    where = [x.points.numpy() for x in samples.places["P"]]
    listed = points.predict(f, P=where)
    assert [x.shape for x in listed] == [(1, x.shape[1]) for x in f]
    assert all(isinstance(x, np.ndarray) for x in listed)
    packed = points.predict(samples.values["f"], P=[Geometry(torch.tensor(x)) for x in where])
    assert isinstance(packed, Packed)
    assert (np.concatenate(listed, 1) == packed.values[0].numpy()).all()


def test_points_without_samples_give_no_samples():
    points = opdsl.open_run(OLD / "runs/points")
    assert points.predict(np.zeros((0, 2, 9)), P=np.zeros((0, 9, 2))).shape == (0, 1, 9)


def test_steps_in_time_go_on_as_the_command_lets_them(tmp_path):
    steps = opdsl.open_run(OLD / "runs/steps")
    x = np.load(OLD / "steps_test.npz")["x"]
    out = tmp_path / "out.npz"
    given = ("--input", OLD / "steps_test.npz", "--output", out)
    good("predict", OLD / "runs/steps", *given, "--steps", 5)
    found = steps.predict(x, steps=5)
    assert found.shape == (4, 5, 1, 9)
    assert found == pytest.approx(np.load(out)["v"], rel=1e-6, abs=1e-7)


def test_a_state_that_is_given_comes_back():
    steps = opdsl.open_run(OLD / "runs/steps")
    x = np.load(OLD / "steps_test.npz")["x"]
    found = steps.predict(x, np.zeros((4, 4, 9), "f4"), steps=2)
    assert found.keys() == {"v", "new"}
    assert (found["v"] == steps.predict(x, steps=2)).all()


def test_an_input_that_comes_back_has_one_value():
    steps = opdsl.open_run(OLD / "runs/steps")
    x = np.load(OLD / "steps_test.npz")["x"]
    with pytest.raises(OpError, match=r"u\[:, 0\]"):
        steps.predict(np.stack((x, x), 1), steps=2)


def test_a_band_comes_with_its_edges():
    band = opdsl.open_run(OLD / "runs/band")
    found = band.predict(np.load(OLD / "line_test.npz")["x"])
    half = band.calibration.factor * np.maximum(found["width"], 0)
    assert found["y_upper"] - found["y"] == pytest.approx(half, rel=1e-5, abs=1e-6)


def test_a_calibration_of_other_weights_is_no_band(tmp_path):
    shutil.copytree(OLD / "runs/band", tmp_path / "band")
    told = json.loads((tmp_path / "band/calibration.json").read_text())
    (tmp_path / "band/calibration.json").write_text(json.dumps(told | {"weights": "0"}))
    band = opdsl.open_run(tmp_path / "band")
    assert band.calibration is None
    assert "calibrate again" in band.notes[0]


# ------------------------------------------------------------------------------------ operator


def test_the_operator_is_a_function_of_physical_values_at_every_resolution(opened, inputs):
    assert torch.equal(opened.operator(inputs).detach(), opened.predict(inputs))
    assert torch.equal(opened.operator(a=inputs), opened.operator(inputs))
    assert opened.operator(torch.rand(2, 1, 33, 21)).shape == (2, 1, 33, 21)


def test_the_module_is_the_operator_between_the_scales(opened, inputs):
    scales = opened.operator.state_dict()
    mean, std = (scales[f"normaliser.scales.in_a.{x}"] for x in ("mean", "std"))
    low, high = (scales[f"normaliser.scales.out_u.{x}"] for x in ("mean", "std"))
    bare = opened.module((inputs - mean) / std)
    assert torch.allclose(bare * high + low, opened.operator(inputs), rtol=1e-6)
    assert not torch.allclose(opened.module(inputs), opened.operator(inputs), rtol=0.1)


def test_the_gradient_of_the_operator_is_that_in_double_precision(opened, inputs):
    def gradient(operator, x):
        x = x.clone().requires_grad_()
        operator(x).square().sum().backward()
        return x.grad

    exact = gradient(copy.deepcopy(opened.operator).double(), inputs.double())
    assert torch.allclose(gradient(opened.operator, inputs).double(), exact, rtol=1e-4, atol=1e-9)


def test_the_operator_learns(opened, inputs):
    operator = copy.deepcopy(opened.operator).train()
    goal = operator(inputs).detach() * 1.1
    optimizer = torch.optim.Adam(operator.parameters(), 1e-3)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (operator(inputs) - goal).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert "normaliser.scales.in_a.mean" not in dict(operator.named_parameters())


def test_the_operator_is_exported_by_torch(opened, inputs):
    program = torch.export.export(opened.operator, (inputs,))
    assert torch.allclose(program.module()(inputs), opened.operator(inputs), rtol=1e-5)


@pytest.mark.parametrize("name", ["operator", "module"])
def test_what_a_run_holds_can_be_pickled_after_a_call(opened, inputs, name):
    module = getattr(opened, name)
    wanted = module(inputs)
    assert torch.equal(pickle.loads(pickle.dumps(module))(inputs), wanted)  # noqa: S301  our own
    assert torch.equal(copy.deepcopy(module)(inputs), wanted)


def test_a_run_says_what_it_is(opened, trained):
    assert repr(opened).startswith(f"<Run {trained}: model Tiny, ")
    assert opened.settings.batch == 5
    assert opened.graph.name == "Tiny"
    assert len(opened.metrics.history) == 3
    assert opened.metrics.best_epoch == opened.epoch
    (row, _) = data("evaluate", trained, "--json")["valid"]
    assert opened.metrics.valid[0]["rel_l2"] == pytest.approx(row["rel_l2"], rel=1e-5)


def test_the_last_weights_are_those_of_the_last_epoch(trained):
    assert opdsl.open_run(trained, last=True).epoch == 3


def test_the_library_and_opening_a_run_import_no_command_line(trained):
    code = (
        "import sys, opdsl, opdsl.workflow.training.train, opdsl.workflow.views\n"
        f"import opdsl.workflow.export; opdsl.open_run({str(trained)!r})\n"
        "print([x for x in sys.modules if x.startswith(('opdsl.cli', 'typer', 'rich'))])"
    )
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_the_package_lists_what_it_offers_without_torch():
    code = "import opdsl, sys; print('open_run' in dir(opdsl), 'torch' in sys.modules)"
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == "True False\n"
    assert Path(opdsl.__file__).with_name("py.typed").is_file()


# ------------------------------------------------------------------- weights without their run


@pytest.fixture
def bare(trained):
    """A module of the run's program, with fresh weights."""
    return opdsl.compile(trained / "resolved.op")


LOADS = {
    "strict": lambda module, path: module.load_state_dict(load_file(path)),
    "loose": lambda module, path: module.load_state_dict(load_file(path), strict=False),
    "assigned": lambda module, path: module.load_state_dict(load_file(path), assign=True),
    "safetensors": load_model,
    "safetensors, loose": lambda module, path: load_model(module, path, strict=False),
    "inside another": lambda module, path: torch.nn.ModuleList([module]).load_state_dict(
        {f"0.{k}": x for k, x in load_file(path).items()}, strict=False
    ),
}


@pytest.mark.parametrize("way", LOADS)
def test_a_bare_module_refuses_the_weights_of_a_run(trained, bare, way):
    before = copy.deepcopy(bare.state_dict())
    with pytest.raises(OpError, match=r"opdsl\.open_run") as raised:
        LOADS[way](bare, trained / "model.safetensors")
    assert code(raised) == "OP0920"
    assert all(torch.equal(x, before[k]) for k, x in bare.state_dict().items())


def test_the_weights_of_a_run_are_those_of_its_operator(trained, opened):
    fresh = copy.deepcopy(opened.operator)
    for x in fresh.state_dict().values():
        x.zero_()
    fresh.load_state_dict(load_file(trained / "model.safetensors"))
    wanted = opened.operator.state_dict()
    assert all(torch.equal(x, wanted[k]) for k, x in fresh.state_dict().items())


def test_a_program_may_name_its_parts_as_a_run_does():
    module = opdsl.compile(
        "edition 2026\n\nmodel M {\n  domain D = grid(x: 0..1, min = 8)\n  input a : D -> R^1\n"
        "  output u : D -> R^1\n\n  normaliser = a |> linear(out = 2)\n"
        "  module = normaliser |> gelu() |> linear(out = 2)\n  u = module |> linear(out = 1)\n}\n"
    )
    module.load_state_dict(module.state_dict())


@pytest.mark.parametrize("ask", [opdsl.compile, opdsl.load])
def test_a_run_is_no_program_and_says_how_it_is_opened(trained, ask):
    for path in (trained, str(trained)):
        with pytest.raises(OpError, match=r"opdsl\.open_run\(\"") as raised:
            ask(path)
        assert code(raised) == "OP0202"


def test_commands_for_programs_say_the_same_of_a_run(trained):
    result = run("summary", trained)
    assert result.exit_code == 3
    assert "opdsl.open_run" in result.stderr


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (OLD / "grid.op", "opdsl.compile"),
        ("edition 2026\n", "opdsl.compile"),
        (OLD / "compiled", "compiled model"),
        (OLD, "not a run"),
        ("nowhere", "no such folder"),
        ("a\0b", "no such folder"),
        ("a" * 5000, "no such folder"),
    ],
    ids=["program", "text", "compiled", "folder", "nothing", "nul", "long"],
)
def test_what_is_no_run_is_told_in_one_diagnostic(path, words):
    with pytest.raises(OpError) as raised:
        opdsl.open_run(path)
    assert code(raised) == "OP0627"
    assert words in text(raised)


# ------------------------------------------------------------------- a run without checkpoints


def lean(source, target):
    """A copy of a run that has no checkpoints, as it is passed on to others."""
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns("checkpoints", "*.html", "*.jsonl")
    )
    return target


def test_a_run_without_checkpoints_has_its_best_weights(trained, opened, inputs, tmp_path):
    found = opdsl.open_run(lean(trained, tmp_path / "lean"))
    assert torch.equal(found.predict(inputs), opened.predict(inputs))
    assert found.epoch is None
    with pytest.raises(OpError) as raised:
        opdsl.open_run(tmp_path / "lean", last=True)
    assert code(raised) == "OP0627"


def test_weights_of_an_earlier_version_find_their_normaliser(tmp_path):
    found = opdsl.open_run(lean(OLD / "runs/grid", tmp_path / "lean"))
    x = np.load(OLD / "grid_test.npz")["x"]
    wanted = np.load(OLD / "predictions/grid.npz")["u"]
    assert found.predict(x) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("content", [b"", b"\0" * 64, None])
def test_damaged_weights_are_told(trained, tmp_path, content):
    path = lean(trained, tmp_path / "lean") / "model.safetensors"
    if content is None:
        save_file({"normaliser.scales.in_a.mean": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(OpError) as raised:
        opdsl.open_run(tmp_path / "lean")
    assert code(raised) in {"OP0621", "OP0626"}


# --------------------------------------------------------------------------------- what we tell


def fences(path, kind):
    return re.findall(rf"^ *```{kind}\n(.*?)^ *```$", path.read_text(), re.MULTILINE | re.DOTALL)


def test_the_chapter_does_what_it_says(trained, tmp_path, monkeypatch):
    page = ROOT / "grammar/language/06-train.md"
    (text,) = (x for x in fences(page, "console") if "open_run" in x)
    shutil.copytree(trained, tmp_path / "runs/darcy")
    monkeypatch.chdir(tmp_path)
    points = {
        "f": [torch.rand(2, 7), torch.rand(2, 9)],
        "points": [torch.rand(n, 2) for n in (7, 9)],
    }
    scope = {"opdsl": opdsl, "a": torch.ones(2, 1, 17, 33), "now": torch.rand(2, 1, 9), **points}
    for line in text.splitlines():
        if "f=f" in line or "steps" in line:
            scope["run"] = opdsl.open_run(OLD / f"runs/{'points' if 'f=f' in line else 'steps'}")
        exec(line, scope)  # noqa: S102  our page
    assert scope["u"].shape == (2, 1, 17, 33)


def test_the_way_to_rewrite_old_weights_does_it(tmp_path, monkeypatch):
    (text,) = fences(ROOT / "grammar/compatibility.md", "python")
    shutil.copytree(OLD / "runs/grid", tmp_path / "runs/old")
    monkeypatch.chdir(tmp_path)
    exec(dedent(text), {"opdsl": opdsl})  # noqa: S102  our page
    (tmp_path / "model.safetensors").replace(tmp_path / "runs/old/model.safetensors")
    found = opdsl.open_run(lean(tmp_path / "runs/old", tmp_path / "lean"))
    x = np.load(OLD / "grid_test.npz")["x"]
    assert (found.predict(x) == opdsl.open_run(OLD / "runs/grid").predict(x)).all()
