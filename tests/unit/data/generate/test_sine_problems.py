"""Poisson and wave data: closed forms that satisfy their equations at every resolution."""

import h5py
import numpy as np
import pytest

from opdsl.data import open_dataset
from opdsl.data.generate.problems import poisson, wave
from opdsl.data.generate.sampling import sine_laws, sine_series
from opdsl.diagnostics import OpError
from opdsl.sampling import SAMPLINGS, positions

FIELDS = {poisson: ("forcing", "solution"), wave: ("initial", "final")}


def written(problem, path, **changes):
    settings = {"resolution": 17, "samples": 2, "seed": 5, "out": path}
    report = problem.generate(**settings | changes)
    with h5py.File(path) as f:
        return report, *(f[f"t0_fields/{x}"][:, 0].astype(float) for x in FIELDS[problem])


def laplacian(u, h):
    inner = u[:, 1:-1, 1:-1]
    sides = u[:, 2:, 1:-1] + u[:, :-2, 1:-1] + u[:, 1:-1, 2:] + u[:, 1:-1, :-2]
    return (sides - 4 * inner) / h**2


def one_mode(monkeypatch, i, j):
    """Let every sample be a single mode with amplitude 1."""

    def amplitudes(_seed, _index, terms):
        a = np.zeros((terms, terms))
        a[i - 1, j - 1] = 1
        return a

    for module in (poisson, wave):
        monkeypatch.setattr(module, "amplitudes", amplitudes)


def test_differences_of_the_solution_approach_the_forcing_with_order_two(tmp_path):
    errors = []
    for n in (65, 129, 257):
        _, f, u = written(poisson, tmp_path / "p.h5", resolution=n, terms=4)
        error = laplacian(u, 1 / (n - 1)) + f[:, 1:-1, 1:-1]
        errors.append(np.sqrt(np.mean(error**2)) / np.sqrt(np.mean(f**2)))
    # values in float32 leave eps / h^2
    assert errors[0] < 0.01
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)
    assert errors[2] < errors[1]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_single_mode_has_its_closed_form_on_every_sampling(tmp_path, monkeypatch, sampling):
    one_mode(monkeypatch, 3, 5)
    _, f, u = written(
        poisson, tmp_path / "p.h5", sampling=sampling, resolution=12, terms=5, exponent=-0.5
    )
    x = np.array(positions(sampling, 12))
    mode = np.outer(np.sin(3 * np.pi * x), np.sin(5 * np.pi * x))
    assert f[0] == pytest.approx(np.pi / 25 / np.sqrt(34) * mode, abs=1e-7)
    assert u[0] == pytest.approx(mode / (25 * np.pi * 34**1.5), abs=1e-9)


def test_a_single_standing_wave_has_its_closed_form(tmp_path, monkeypatch):
    one_mode(monkeypatch, 3, 4)
    _, before, after = written(
        wave, tmp_path / "w.h5", resolution=12, terms=4, exponent=1.0, time=2.0
    )
    x = np.array(positions("both", 12))
    mode = np.outer(np.sin(3 * np.pi * x), np.sin(4 * np.pi * x)) * np.pi / 16 / 25
    assert before[0] == pytest.approx(mode, abs=1e-9)
    assert after[0] == pytest.approx(mode * np.cos(0.1 * np.pi * 2 * 5), abs=1e-9)


def test_waves_at_time_zero_are_the_initial_ones(tmp_path):
    _, before, after = written(wave, tmp_path / "w.h5", time=0.0)
    assert np.array_equal(before, after)
    assert np.abs(before).max() > 1e-4


def test_waves_satisfy_the_wave_equation(tmp_path):
    n, step = 129, 0.05
    states = [
        written(wave, tmp_path / "w.h5", resolution=n, terms=3, time=5 + k * step)[2]
        for k in (-1, 0, 1)
    ]
    acceleration = (states[0] - 2 * states[1] + states[2])[:, 1:-1, 1:-1] / step**2
    force = 0.01 * laplacian(states[1], 1 / (n - 1))
    assert np.abs(acceleration - force).max() < 5e-3 * np.abs(force).max()


@pytest.mark.parametrize("problem", FIELDS)
def test_files_of_one_seed_agree_where_their_points_coincide(tmp_path, problem):
    _, *coarse = written(problem, tmp_path / "17.h5", resolution=17)
    _, *fine = written(problem, tmp_path / "65.h5", resolution=65, samples=3)
    _, *inner = written(problem, tmp_path / "i.h5", resolution=15, sampling="interior")
    _, *centres = written(problem, tmp_path / "c.h5", resolution=16, sampling="centres")
    for few, many, inside, middle in zip(coarse, fine, inner, centres, strict=True):
        size = np.abs(few).max()
        assert few == pytest.approx(many[:2, ::4, ::4], abs=1e-6 * size)
        assert inside == pytest.approx(few[:, 1:-1, 1:-1], abs=1e-6 * size)
        assert middle == pytest.approx(many[:2, 2::4, 2::4], abs=1e-6 * size)


@pytest.mark.parametrize("problem", FIELDS)
def test_values_on_the_walls_are_exactly_zero(tmp_path, problem):
    _, *fields = written(problem, tmp_path / "a.h5", resolution=33)
    for x in fields:
        assert not x[:, [0, -1]].any()
        assert not x[:, :, [0, -1]].any()
        assert x[:, 1:-1, 1:-1].all()


@pytest.mark.parametrize(("problem", "terms"), [(poisson, (16, 20)), (wave, (24, 32))])
def test_functions_out_of_distribution_have_more_sines(tmp_path, problem, terms):
    from scipy.fft import dstn

    for distribution, k in zip(("in", "out"), terms, strict=True):
        _, *fields = written(
            problem,
            tmp_path / "a.h5",
            resolution=63,
            sampling="interior",
            distribution=distribution,
        )
        for x in fields:
            spectrum = np.abs(dstn(x, type=1, axes=(1, 2))).max(0)
            floor = 1e-6 * spectrum.max()
            assert spectrum[k - 1].max() > 10 * floor
            assert spectrum[:, k - 1].max() > 10 * floor
            assert spectrum[k:].max() < floor
            assert spectrum[:, k:].max() < floor


def test_amplitudes_are_uniform_between_minus_one_and_one():
    a = np.concatenate([sine_series.amplitudes(3, i, 16).ravel() for i in range(40)])
    assert -1 < a.min() < -0.99
    assert 0.99 < a.max() < 1
    assert abs(a.mean()) < 0.02
    assert a.var() == pytest.approx(1 / 3, rel=0.03)


def test_the_file_has_walls_at_both_ends_as_that_of_darcy(tmp_path):
    written(poisson, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as f:
        assert set(f["boundary_conditions"]) == {"x_wall", "y_wall"}
        wall = f["boundary_conditions/x_wall"]
        assert wall.attrs["bc_type"] == "WALL"
        assert np.flatnonzero(wall["mask"][()]).tolist() == [0, 16]
        assert f.attrs["opdsl_layout"] == "node"
        assert f.attrs["sampling"] == "both"
        assert (f.attrs["terms"], f.attrs["exponent"], f.attrs["seed"]) == (16, -0.5, "5")
        assert f["dimensions/x"][()] == pytest.approx(np.linspace(0, 1, 17))
    data = open_dataset(tmp_path / "a.h5")
    assert data.roles == {"forcing": "input", "solution": "output"}
    assert (data.layout, data.resolution, data.name) == ("node", (17, 17), "poisson")


@pytest.mark.parametrize(("sampling", "walls"), [("lower", [0]), ("upper", [15]), ("centres", [])])
def test_only_points_at_an_end_are_on_a_wall(tmp_path, sampling, walls):
    written(wave, tmp_path / "a.h5", resolution=16, sampling=sampling)
    with h5py.File(tmp_path / "a.h5") as f:
        assert np.flatnonzero(f["boundary_conditions/y_wall/mask"][()]).tolist() == walls
        assert f["dimensions/y"][()] == pytest.approx(positions(sampling, 16))


@pytest.mark.parametrize(
    ("sampling", "fine", "coarse"),
    [("lower", 32, 16), ("upper", 32, 16), ("interior", 31, 15), ("centres", 27, 9)],
)
def test_a_file_is_read_at_a_coarser_resolution_of_its_sampling(tmp_path, sampling, fine, coarse):
    written(poisson, tmp_path / "fine.h5", resolution=fine, sampling=sampling)
    _, f, u = written(poisson, tmp_path / "coarse.h5", resolution=coarse, sampling=sampling)
    data = open_dataset(tmp_path / "fine.h5", resolution=coarse)
    for name, direct in (("forcing", f), ("solution", u)):
        values = data.values[name][:, 0].numpy()
        assert values == pytest.approx(direct, abs=1e-6 * np.abs(direct).max())


@pytest.mark.parametrize("problem", FIELDS)
def test_equal_settings_give_equal_bytes_and_another_seed_other_data(tmp_path, problem):
    for name in ("a.h5", "b.h5"):
        written(problem, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    _, a, _ = written(problem, tmp_path / "a.h5")
    _, b, _ = written(problem, tmp_path / "b.h5", seed=6)
    assert not np.array_equal(a, b)


WRONG = [
    {"resolution": 2},
    {"resolution": 1 << 13},
    {"samples": 0},
    {"samples": 1 << 40},
    {"seed": -1},
    {"seed": 1 << 64},
    {"terms": 0},
    {"terms": 10_000},
    {"exponent": 50.0},
    {"exponent": float("nan")},
    {"sampling": "edges"},
    {"distribution": "elsewhere"},
]


@pytest.mark.parametrize("wrong", [*((p, x) for p in FIELDS for x in WRONG), (wave, {"time": -1})])
def test_settings_that_do_not_fit_are_refused(tmp_path, wrong):
    problem, changes = wrong
    with pytest.raises(OpError) as caught:
        written(problem, tmp_path / "a.h5", **changes)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0604"
    assert list(tmp_path.iterdir()) == []


def test_a_grid_that_does_not_fit_into_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("opdsl.data.generate.problems.grid_pairs.data_budget", lambda: 1 << 20)
    with pytest.raises(OpError) as caught:
        written(poisson, tmp_path / "a.h5", resolution=129)
    assert "memory" in caught.value.diagnostics[0].message


@pytest.mark.parametrize("problem", FIELDS)
def test_a_solution_of_another_equation_leaves_no_file(tmp_path, monkeypatch, problem):
    true = sine_laws.second_differences
    monkeypatch.setattr(problem, "second_differences", lambda u, h: 1.01 * true(u, h))
    with pytest.raises(OpError) as caught:
        written(problem, tmp_path / "a.h5")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0617"
    assert "satisfy the equation with order" in diagnostic.message
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_leave_no_file(tmp_path, monkeypatch):
    true = poisson.coefficients

    def coefficients(seed, index, law):
        found = true(seed, index, law)
        return found if index == 0 else {k: v * np.nan for k, v in found.items()}

    monkeypatch.setattr(poisson, "coefficients", coefficients)
    with pytest.raises(OpError) as caught:
        written(poisson, tmp_path / "a.h5")
    assert "sample 1 has a number that is not finite" in caught.value.diagnostics[0].message
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_keeps_the_file_of_before(tmp_path):
    written(poisson, tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(poisson, tmp_path / "a.h5", seed=9, progress=stop)
    assert (tmp_path / "a.h5").read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["a.h5"]
