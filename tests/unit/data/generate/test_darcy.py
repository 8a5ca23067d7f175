"""The Darcy data set: the same samples whatever the grid, and no file without its check."""

import os
import signal
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import h5py
import numpy as np
import pytest

from opdsl.data import open_dataset
from opdsl.data.generate.problems import darcy
from opdsl.data.generate.problems.darcy import generate
from opdsl.data.generate.solvers.diffusion import five_points
from opdsl.diagnostics import OpError

WHOLE = darcy.REFINED


@pytest.fixture(autouse=True)
def coarse_check(monkeypatch):
    """A quarter of the check of convergence: most tests are about everything else."""
    monkeypatch.setattr(darcy, "REFINED", WHOLE[:-1])


def made(path, **changes):
    settings = {"resolution": 17, "samples": 3, "seed": 5, "out": path, "workers": 2}
    report = generate(**settings | changes)
    with h5py.File(path) as f:
        return report, f["t0_fields/coefficient"][:, 0], f["t0_fields/pressure"][:, 0]


def test_files_of_one_seed_at_two_resolutions_agree_bit_for_bit(tmp_path):
    _, a, u = made(tmp_path / "17.h5", resolution=17)
    _, finer_a, finer_u = made(tmp_path / "33.h5", resolution=33)
    assert np.array_equal(a, finer_a[:, ::2, ::2])
    assert np.array_equal(u, finer_u[:, ::2, ::2])


def test_a_sample_depends_on_its_index_alone(tmp_path):
    _, _, few = made(tmp_path / "a.h5", samples=2, workers=1)
    _, _, many = made(tmp_path / "b.h5", samples=5, workers=3)
    assert np.array_equal(few, many[:2])


def test_the_same_settings_give_the_same_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        made(tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_another_seed_gives_other_data(tmp_path):
    _, a, _ = made(tmp_path / "a.h5")
    _, b, _ = made(tmp_path / "b.h5", seed=6)
    assert not np.array_equal(a, b)


def test_the_pressure_solves_the_equation_on_the_fine_grid(tmp_path):
    _, a, u = made(tmp_path / "a.h5", resolution=33, fine=33)
    for one_a, one_u in zip(a, u, strict=True):
        left = five_points(one_a.astype(float)) @ one_u[1:-1, 1:-1].ravel().astype(float)
        assert left == pytest.approx(1, abs=2e-2)  # float32 pressures, times 1 / h^2
        assert abs(left.mean() - 1) < 1e-4


def test_the_piecewise_coefficient_has_two_values_in_about_equal_parts(tmp_path):
    _, a, _ = made(tmp_path / "a.h5", samples=30, fine=17)
    assert set(np.unique(a)) == {3.0, 12.0}
    assert 0.35 < (a == 12).mean() < 0.65


def test_the_lognormal_coefficient_is_smooth_and_positive(tmp_path, monkeypatch):
    monkeypatch.setattr(darcy, "REFINED", WHOLE)
    report, a, _ = made(tmp_path / "a.h5", kind="lognormal")
    assert a.min() > 0
    assert len(np.unique(a)) > 800
    assert report.checks["order"] > 1.7


def test_the_pressure_is_zero_on_the_boundary_and_above_inside(tmp_path):
    _, _, u = made(tmp_path / "a.h5")
    assert not u[:, [0, -1]].any()
    assert not u[:, :, [0, -1]].any()
    assert u[:, 1:-1, 1:-1].min() > 0


def test_the_file_marks_its_input_and_output(tmp_path):
    made(tmp_path / "a.h5")
    held = open_dataset(tmp_path / "a.h5")
    assert held.roles == {"coefficient": "input", "pressure": "output"}
    assert (held.layout, held.resolution, held.name) == ("node", (17, 17), "darcy")


def test_the_report_tells_what_was_made(tmp_path):
    done = []
    report, _, _ = made(tmp_path / "a.h5", progress=lambda i, n: done.append((i, n)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert (report.samples, report.size) == (3, {"resolution": 17, "fine": 129})
    assert 0 < report.checks["residual"] < 1e-11
    assert 0.5 < report.checks["order"] < 1.7
    assert report.seconds > 0
    assert report.path == tmp_path / "a.h5"


@pytest.mark.parametrize(("resolution", "fine"), [(17, 129), (33, 129), (85, 169), (421, 421)])
def test_the_fine_grid_is_the_least_that_carries_the_coefficient(resolution, fine):
    assert darcy._fine(resolution) == fine


@pytest.mark.parametrize(
    "wrong",
    [
        {"resolution": 2},
        {"samples": 0},
        {"seed": -1},
        {"seed": 1 << 64},
        {"workers": 0},
        {"kind": "binary"},
        {"fine": 128},
        {"fine": 9},
        {"resolution": 0, "fine": 9},
        {"resolution": 1},
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, wrong):
    with pytest.raises(OpError) as caught:
        made(tmp_path / "a.h5", **wrong)
    assert caught.value.diagnostics[0].code == "OP0604"
    assert list(tmp_path.iterdir()) == []


def broken(monkeypatch, change):
    """`solve` with a fault, but only on the grid of the samples."""
    true = darcy.solve

    def solve(a):
        u, residual = true(a)
        return change(u, residual) if len(a) == 49 else (u, residual)

    monkeypatch.setattr(darcy, "solve", solve)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda u, _: (u, 1e-9), "residual 1.0e-09"),
        (lambda u, _: (u, float("nan")), "residual nan"),
        (lambda u, r: (u - 1e-6, r), "below zero"),
        (lambda u, r: (u * np.nan, r), "pressure nan"),
    ],
)
def test_a_failing_check_leaves_no_file(tmp_path, monkeypatch, change, told):
    broken(monkeypatch, change)
    with pytest.raises(OpError) as caught:
        made(tmp_path / "a.h5", fine=49)
    (one,) = caught.value.diagnostics
    assert one.code == "OP0617"
    assert told in one.message
    assert list(tmp_path.iterdir()) == []


def test_a_solver_that_does_not_converge_is_found(tmp_path, monkeypatch):
    true = darcy.solve
    wrong = iter((1.0, 1.1, 1.0, 1.1))
    monkeypatch.setattr(darcy, "solve", lambda a: (true(a)[0] * next(wrong), 0.0))
    with pytest.raises(OpError) as caught:
        made(tmp_path / "a.h5")
    (one,) = caught.value.diagnostics
    assert one.code == "OP0617"
    assert "converges with order" in one.message
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_no_file_and_makes_no_more_samples(tmp_path, monkeypatch):
    begun = []
    true = darcy._flow
    monkeypatch.setattr(darcy, "_flow", lambda *a: (begun.append(a), true(*a))[1])

    def stop(done, _):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "a.h5", samples=500, progress=stop)
    assert list(tmp_path.iterdir()) == []
    assert len(begun) < 50


SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs start deaf to it
from pathlib import Path
from opdsl.data.generate.problems.darcy import generate
generate(resolution=17, samples=100000, seed=1, out=Path("a.h5"),
         progress=lambda i, n: i == 5 and print("running", flush=True))
"""


def test_ctrl_c_leaves_no_file(tmp_path):
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])}
    command = [sys.executable, "-c", SCRIPT]
    with Popen(command, cwd=tmp_path, stdout=PIPE, stderr=PIPE, env=here) as child:  # noqa: S603  our own script
        assert child.stdout.readline() == b"running\n"
        child.send_signal(signal.SIGINT)
        try:
            _, said = child.communicate(timeout=60)
        finally:
            child.kill()  # of no effect, unless it did not listen
    assert b"KeyboardInterrupt" in said
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_keeps_the_file_of_before(tmp_path):
    made(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "a.h5", seed=9, progress=stop)
    assert (tmp_path / "a.h5").read_bytes() == before
