"""`opdsl init` writes a program that checks, trains and is laid out as `opdsl fmt` would."""

import h5py
import numpy as np
import pytest

import opdsl
from tests.e2e.command_line import good, run

RNG = np.random.default_rng(0)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def field(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def pair():
    np.savez("d.npz", x=field(12, 17, 17), y=field(12, 17, 17))
    return "d.npz", ()


def generated():
    good("data", "generate", "poisson", "--resolution", 17, "--samples", 12, "-o", "d.h5")
    return "d.h5", ()


def flow():
    with h5py.File("d.h5", "w") as file:
        for name in ("density", "pressure", "Vx", "Vy"):
            file[name] = field(4, 7, 16, 16)
        for name in "xy":
            file[f"{name}-coordinate"] = np.arange(16) / 8
    return "d.h5", ()


def own_names():
    np.savez("d.npz", coef=field(12, 17, 17), sol=field(12, 17, 17))
    return "d.npz", ("--input", "coef", "--output", "sol")


def deeponet():
    np.savez("d.npz", X_train0=field(8, 20), X_train1=field(30, 2), y_train=field(8, 30))
    return "d.npz", ()


@pytest.mark.parametrize(
    "data", [pair, generated, flow, own_names, deeponet], ids=lambda x: x.__name__
)
def test_the_program_of_a_file_checks_and_trains(here, data):
    path, options = data()
    good("init", path, "-o", "m.op", *options)
    checked = opdsl.check(here / "m.op")
    assert not checked.diagnostics
    assert good("fmt", "--check", "m.op") is not None
    shrunk = ("--set", "schedule.epochs=1", "--set", "model.width=8", "--set", "model.depth=1")
    good("train", "m.op", "--out", "run", *shrunk)


def test_the_interval_and_the_kind_of_the_points_are_those_of_the_file(here):
    flow()
    good("init", "d.h5", "-o", "m.op")
    text = (here / "m.op").read_text()
    assert "x: 0..2, y: 0..2" in text
    assert "sampling = lower" in text
    assert "feedback next -> state" in text
    assert 'state = ["density", "pressure", "Vx", "Vy"]' in text


def test_a_file_that_says_nothing_is_refused_with_the_command_to_write(here):
    np.savez("d.npz", coef=field(12, 17, 17), sol=field(12, 17, 17))
    result = run("init", "d.npz", "-o", "m.op")
    assert result.exit_code
    assert "OP0660" in result.stderr
    assert "opdsl init d.npz --input coef --output sol" in result.stderr
    assert not (here / "m.op").exists()


def test_a_name_that_the_file_lacks_is_refused_with_the_nearest(here):
    np.savez("d.npz", coef=field(12, 17, 17), sol=field(12, 17, 17))
    result = run("init", "d.npz", "--input", "coeff", "--output", "sol")
    assert result.exit_code
    assert "did you mean `coef`" in result.stderr
    assert not (here / "d.op").exists()


def test_a_program_that_is_there_stays(here):
    pair()
    (here / "m.op").write_text("mine")
    assert run("init", "d.npz", "-o", "m.op").exit_code
    assert (here / "m.op").read_text() == "mine"
