"""Advection, Fisher's equation and FitzHugh-Nagumo against exact waves and other integrators."""

from itertools import pairwise

import h5py
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from opdsl.data import open_dataset
from opdsl.data.generate.problems import advection, fisher, fitzhugh_nagumo
from opdsl.data.generate.sampling.draws import uniforms
from opdsl.data.generate.sampling.fourier import coefficients_of, on_grid
from opdsl.data.generate.sampling.sine_waves import SineWaves
from opdsl.data.generate.solvers.fisher import FisherEquation
from opdsl.data.generate.solvers.fitzhugh_nagumo import FitzHughNagumo
from opdsl.diagnostics import OpError
from opdsl.sampling import PERIODIC, positions

SMALL = {
    advection: {"frames": 4},
    fisher: {"frames": 2, "time": 0.05},
    fitzhugh_nagumo: {"frames": 2, "time": 0.5, "fine": 32},
}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """A quarter of the steps: times are short here."""
    monkeypatch.setattr(fisher, "LEAST_STEPS", 100)


def written(problem, path, **changes):
    settings = {"resolution": 16, "samples": 2, "seed": 5, "out": path} | SMALL[problem]
    report = problem.generate(**settings | changes)
    with h5py.File(path) as f:
        return report, {k: x[()].astype(float) for k, x in f["t0_fields"].items()}


def law(seed, index, modes, x):
    """The values of a sample, from its definition alone."""
    f = (1 + np.asarray(uniforms(seed, index, 2 * modes + 7))) / 2
    u = np.zeros_like(x)
    for k in range(1, modes + 1):
        times = sum(int(y * modes) + 1 == k for y in f[:2])
        u += f[1 + k] * np.sin(2 * np.pi * (k * times * x + f[1 + modes + k]))
    fold, sign, cut, low, high = f[-5:]
    u = np.abs(u) if fold < 0.1 else u
    u = u if sign < 0.5 else -u
    if cut < 0.1:
        low, high = 0.1 + 0.35 * low, 0.55 + 0.35 * high
        u = u * (np.tanh((x - low) / 0.01) - np.tanh((x - high) / 0.01)) / 2
    return u, fold < 0.1, cut < 0.1


def test_functions_have_the_published_law_in_closed_form():
    x = (np.arange(64) + 0.5) / 64
    folded, windows = [], []
    for index in range(60):
        expected, is_folded, is_cut = law(2, index, 4, x)
        assert SineWaves.draw(2, index, 4)(x) == pytest.approx(expected, abs=1e-12)
        folded.append(is_folded)
        windows.append(is_cut)
    assert 1 <= sum(folded) <= 14
    assert 1 <= sum(windows) <= 14
    signs = [SineWaves.draw(2, i, 4).sign for i in range(200)]
    assert abs(np.mean(signs)) < 0.2


@pytest.mark.parametrize("sampling", PERIODIC)
def test_advection_moves_the_initial_condition(tmp_path, sampling):
    _, fields = written(
        advection, tmp_path / "a.h5", sampling=sampling, velocity=0.4, time=2.0, samples=3
    )
    x = np.array(positions(sampling, 16))
    for index in range(3):
        for frame, time in enumerate(np.linspace(0, 2, 5)):
            expected, *_ = law(5, index, 4, (x - 0.4 * time) % 1)
            assert fields["u"][index, frame] == pytest.approx(expected, abs=1e-6)
    held = open_dataset(tmp_path / "a.h5")
    assert held.times["u"] == pytest.approx((0.0, 0.5, 1.0, 1.5, 2.0))


def test_an_upwind_scheme_tends_to_the_moved_waves_with_order_one():
    wave = SineWaves.draw(0, 1, 2)
    errors = []
    for n in (800, 1600, 3200):
        x = (np.arange(n) + 0.5) / n
        u = wave(x)
        for _ in range(n // 4):  # half a cell in each step
            u = u - 0.5 * (u - np.roll(u, 1))
        errors.append(np.linalg.norm(u - wave(x - 0.125)) / np.sqrt(n))
    assert np.log2(errors[1] / errors[2]) == pytest.approx(1, abs=0.1)


def test_pairs_are_the_first_and_the_last_frame(tmp_path):
    for problem in (advection, fisher):
        _, frames = written(problem, tmp_path / "a.h5")
        _, pairs = written(problem, tmp_path / "b.h5", frames=0)
        assert pairs["initial"][:, 0] == pytest.approx(frames["u"][:, 0], abs=1e-6)
        assert pairs["final"][:, 0] == pytest.approx(frames["u"][:, -1], abs=2e-5)


def front(x, time, nu, rho):
    """The wave of Ablowitz and Zeppetella, which moves to the right with 5 (nu rho / 6)^(1/2)."""
    speed = 5 * np.sqrt(nu * rho / 6)
    return (1 + np.exp(np.sqrt(rho / (6 * nu)) * (x - speed * time))) ** -2


def test_two_fronts_move_as_the_exact_travelling_wave():
    nu, rho, modes, time = 1e-4, 10.0, 512, 1.0
    x = np.arange(2048) / 2048
    away = np.abs(x - 0.5)
    start = coefficients_of(front(away - 0.2, 0.0, nu, rho), modes, 1)
    exact = front(away - 0.2, time, nu, rho)
    equation = FisherEquation(nu, rho)
    errors = []
    for steps in (20, 40, 80):
        (end,) = equation.spectral(start, time, 1, steps)
        errors.append(np.abs(on_grid(end, 2048, 1) - exact).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.7)
    assert errors[-1] < 1e-4
    other = on_grid(equation.split(start, time, 400), 2048, 1)
    assert np.abs(other - exact).max() < 1e-4


def test_fisher_data_equal_finite_differences_of_another_integrator(tmp_path):
    _, fields = written(fisher, tmp_path / "a.h5", resolution=256, samples=1, rate=5.0, time=0.1)
    n = 256
    x = (np.arange(n) + 0.5) / n
    _, start = fisher.initial(5, 0, x)
    assert (start.min(), start.max()) == pytest.approx((0, 1), abs=1e-3)

    def slope(_, u):
        return 0.5 * n**2 * (np.roll(u, 1) - 2 * u + np.roll(u, -1)) + 5 * u * (1 - u)

    end = solve_ivp(slope, (0, 0.1), start, "LSODA", rtol=1e-8, atol=1e-10).y[:, -1]
    assert fields["u"][0, -1] == pytest.approx(end, abs=2e-4)


def smooth(n):
    """Values (2, n, n) at the centres of cells of functions without slope at the walls."""
    x = np.pi * (np.arange(n) + 0.5) / n
    return np.stack(
        [np.outer(np.cos(x), np.cos(2 * x)), 0.5 * np.outer(np.cos(3 * x), 1 + np.cos(x))]
    )


EQUATIONS = FitzHughNagumo((0.02, 0.05), 5e-3, 2.0)


def test_both_solvers_agree_with_an_implicit_integrator_of_the_matrix():
    n = 8
    line = np.diff(np.eye(n), axis=0)
    second = -line.T @ line * (n / 2) ** 2
    laplace = np.kron(second, np.eye(n)) + np.kron(np.eye(n), second)
    start = np.random.default_rng(1).normal(size=(2, n, n))

    def slope(_, y):
        u, v = y.reshape(2, -1)
        return np.concatenate(
            [0.02 * laplace @ u + u - u**3 - 5e-3 - v, 0.05 * laplace @ v + u - v]
        )

    exact = solve_ivp(slope, (0, 1), start.ravel(), "Radau", rtol=1e-10, atol=1e-12).y[:, -1]
    found = EQUATIONS.integrate(start, (0.0, 0.5, 1.0))
    assert np.array_equal(found[0], start)
    assert found[-1].ravel() == pytest.approx(exact, abs=1e-5)
    errors = [
        np.abs(EQUATIONS.spectral(start, 1.0, steps).ravel() - exact).max() for steps in (20, 40)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.6)


def test_finite_volumes_converge_with_order_two_in_space():
    ends = [EQUATIONS.spectral(smooth(n), 0.5, 32) for n in (8, 24, 72)]
    gaps = [np.abs(b[:, 1::3, 1::3] - a).max() for a, b in pairwise(ends)]
    assert np.log(gaps[0] / gaps[1]) / np.log(3) == pytest.approx(2, abs=0.15)


def test_without_flux_only_the_reaction_changes_the_means():
    y = np.random.default_rng(1).normal(size=(2, 12, 12))
    diffusion = EQUATIONS._slope(y) - EQUATIONS._reaction(y)
    assert diffusion.mean((1, 2)) == pytest.approx(0, abs=1e-12)


def test_files_hold_means_of_the_cells_of_the_solver(tmp_path):
    _, coarse = written(fitzhugh_nagumo, tmp_path / "a.h5")
    report, fine = written(fitzhugh_nagumo, tmp_path / "b.h5", resolution=32)
    for name in ("activator", "inhibitor"):
        means = fine[name].reshape(2, 3, 16, 2, 16, 2).mean((3, 5))
        assert coarse[name] == pytest.approx(means, abs=1e-6)
    assert fine["activator"][:, 0].std() == pytest.approx(1, abs=0.05)
    assert report.size == {"resolution": 32, "frames": 2, "fine": 32}
    with h5py.File(tmp_path / "b.h5") as f:
        assert f["dimensions/x"][[0, -1]] == pytest.approx([-1 + 1 / 32, 1 - 1 / 32])


@pytest.mark.parametrize("problem", [fisher, fitzhugh_nagumo])
def test_samples_depend_neither_on_their_number_nor_on_the_workers(tmp_path, problem):
    _, few = written(problem, tmp_path / "a.h5", samples=1, workers=1)
    _, many = written(problem, tmp_path / "b.h5", samples=3, workers=2)
    for name, values in few.items():
        assert np.array_equal(values[0], many[name][0])
        assert not np.array_equal(many[name][0], many[name][1])


WRONG = [
    *((p, x) for p in SMALL for x in ({"frames": -1}, {"time": float("nan")}, {"resolution": 2})),
    (advection, {"velocity": 1e9}),
    (advection, {"modes": 0}),
    (fisher, {"rate": 0.0}),
    (fisher, {"sampling": "both"}),
    (fitzhugh_nagumo, {"fine": 40}),
    (fitzhugh_nagumo, {"frames": 0}),
    (fitzhugh_nagumo, {"du": 1.0}),
]


@pytest.mark.parametrize(("problem", "wrong"), WRONG)
def test_settings_out_of_range_are_refused(tmp_path, problem, wrong):
    with pytest.raises(OpError, match="OP0604"):
        written(problem, tmp_path / "a.h5", **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("problem", "place", "name"),
    [
        (fisher, FisherEquation, "split"),
        (fitzhugh_nagumo, FitzHughNagumo, "spectral"),
    ],
)
def test_two_solutions_that_differ_leave_no_file(tmp_path, monkeypatch, problem, place, name):
    true = getattr(place, name)
    monkeypatch.setattr(place, name, lambda *args: 1.001 * true(*args))
    with pytest.raises(OpError, match="OP0617"):
        written(problem, tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("problem", SMALL)
def test_each_frame_is_recorded_once_at_its_time(tmp_path, problem):
    _, few = written(problem, tmp_path / "a.h5", frames=3, samples=1)
    _, many = written(problem, tmp_path / "b.h5", frames=6, samples=1)
    with h5py.File(tmp_path / "b.h5") as f:
        times = f["dimensions/time"][()]
    assert np.diff(times) == pytest.approx(times[-1] / 6, rel=1e-5)
    for name, values in many.items():
        assert values[:, ::2] == pytest.approx(few[name], abs=2e-5)
        changes = np.abs(np.diff(values, axis=1)).reshape(6, -1)
        assert changes.max(1).min() > 1e-4
