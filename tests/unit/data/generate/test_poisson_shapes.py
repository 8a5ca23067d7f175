"""The Poisson data set: the same problems at every width, and no file without its check."""

import h5py
import numpy as np
import pytest

from opdsl.data import open_dataset
from opdsl.data.generate.problems import poisson_shapes as shapes
from opdsl.data.generate.problems import surface
from opdsl.diagnostics import OpError

KINDS = pytest.mark.parametrize("kind", [shapes, surface])


@pytest.fixture(autouse=True)
def coarse_check(monkeypatch):
    """The check of convergence on wide meshes: most tests are about everything else."""
    monkeypatch.setattr(shapes, "REFINED", (4, 8))
    monkeypatch.setattr(surface, "REFINED", (4, 8))


def made(kind, path, **changes):
    settings = {"resolution": 5, "samples": 3, "seed": 7, "out": path}
    return kind.generate(**settings | changes)


@KINDS
def test_the_same_settings_give_the_same_bytes(kind, tmp_path):
    for name in ("a.h5", "b.h5"):
        made(kind, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@KINDS
def test_a_sample_depends_on_its_index_alone(kind, tmp_path):
    made(kind, tmp_path / "a.h5", samples=2)
    made(kind, tmp_path / "b.h5", samples=4)
    a, b = (open_dataset(tmp_path / x).values["solution"].parts for x in ("a.h5", "b.h5"))
    assert all((x == y).all() for x, y in zip(a, b[:2], strict=True))


@KINDS
def test_another_seed_gives_other_shapes(kind, tmp_path):
    made(kind, tmp_path / "a.h5")
    made(kind, tmp_path / "b.h5", seed=8)
    a, b = (next(iter(open_dataset(tmp_path / x).places.values())) for x in ("a.h5", "b.h5"))
    assert a[0].points.shape != b[0].points.shape or (a[0].points != b[0].points).any()


@pytest.mark.parametrize(("kind", "limit"), [(shapes, 0.06), (surface, 0.06)])
def test_files_of_two_widths_hold_the_same_problems(kind, limit):
    """Each solution, taken at the nearest point of the finer mesh."""
    from scipy.spatial import cKDTree

    for index in range(3):
        coarse, fine = kind.sample(2, index, 8), kind.sample(2, index, 24)
        a, b = (getattr(x, "mesh", x).points for x in (coarse, fine))
        near = cKDTree(b).query(a)[1]
        gap = np.linalg.norm(fine.solution[near] - coarse.solution)
        assert gap / np.linalg.norm(coarse.solution) < limit


@KINDS
def test_the_file_has_shapes_of_different_sizes_with_cells(kind, tmp_path):
    report = made(kind, tmp_path / "a.h5")
    held = open_dataset(tmp_path / "a.h5")
    (placed,) = held.places.values()
    sizes = [len(x) for x in placed]
    assert (min(sizes), max(sizes)) == tuple(report.size["points"])
    assert len(set(sizes)) > 1
    assert all(x.cells.max() == len(x) - 1 for x in placed)
    assert held.roles["forcing"] == "input"
    assert held.roles["solution"] == "output"
    assert held.suspects == ()


@KINDS
def test_the_report_tells_what_was_made(kind, tmp_path):
    done = []
    report = made(kind, tmp_path / "a.h5", progress=lambda i, n: done.append((i, n)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert report.samples == 3
    assert 0 < report.checks["residual"] < 1e-11
    assert 1.6 < report.checks["order"] < 2.4
    assert report.path == tmp_path / "a.h5"
    with h5py.File(tmp_path / "a.h5") as f:
        assert f.attrs["seed"] == "7"


@KINDS
@pytest.mark.parametrize(
    "wrong",
    [{"resolution": 2}, {"resolution": 501}, {"samples": 0}, {"seed": -1}, {"seed": 1 << 64}],
)
def test_settings_that_do_not_fit_are_refused(kind, tmp_path, wrong):
    with pytest.raises(OpError) as caught:
        made(kind, tmp_path / "a.h5", **wrong)
    assert caught.value.diagnostics[0].code == "OP0604"
    assert list(tmp_path.iterdir()) == []


def refused(kind, tmp_path, told):
    with pytest.raises(OpError) as caught:
        made(kind, tmp_path / "a.h5")
    (one,) = caught.value.diagnostics
    assert one.code == "OP0617"
    assert told in one.message
    assert list(tmp_path.iterdir()) == []


@KINDS
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda u, _: (u, 1e-9), "residual 1.0e-09"),
        (lambda u, _: (u, float("nan")), "residual nan"),
        (lambda u, r: (u + 100, r), " "),
        (lambda u, r: (u * np.nan, r), " "),
    ],
)
def test_a_failing_check_leaves_no_file(kind, tmp_path, monkeypatch, change, told):
    true = kind.solve
    monkeypatch.setattr(kind, "_order", lambda *_: 2.0)
    monkeypatch.setattr(kind, "solve", lambda *a: change(*true(*a)))
    refused(kind, tmp_path, told)


def test_each_check_of_a_poisson_sample_can_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "GAP", 1e-9)
    refused(shapes, tmp_path, "two ways")
    monkeypatch.setattr(shapes, "GAP", np.inf)
    monkeypatch.setattr(shapes, "ANGLE", 59.0)
    refused(shapes, tmp_path, "does not fill")
    monkeypatch.setattr(shapes, "ANGLE", 1.0)
    monkeypatch.setattr(shapes, "bounds", lambda *_: (0.0, 0.1))
    refused(shapes, tmp_path, "bounds 0 to 0.1")


def test_each_check_of_a_surface_can_fail(tmp_path, monkeypatch):
    true = surface.solve
    monkeypatch.setattr(surface, "_order", lambda *_: 2.0)
    monkeypatch.setattr(surface, "solve", lambda *a: (true(*a)[0] + 1e-6, 0.0))
    refused(surface, tmp_path, "integrals")
    monkeypatch.setattr(surface, "BALANCE", np.inf)
    monkeypatch.setattr(surface, "SLACK", -0.4)
    refused(surface, tmp_path, "bounds")


@KINDS
def test_a_solver_that_does_not_converge_is_found(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(kind, "_error", lambda _: 1.0)
    refused(kind, tmp_path, "with order 0.00")


@KINDS
def test_an_interruption_keeps_the_file_of_before(kind, tmp_path):
    made(kind, tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(kind, tmp_path / "a.h5", seed=9, progress=stop)
    assert (tmp_path / "a.h5").read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["a.h5"]
