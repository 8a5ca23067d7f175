"""Burgers and reaction-diffusion data: against independent solutions and laws of the equations."""

from itertools import pairwise

import h5py
import numpy as np
import pytest

from opdsl.data import open_dataset
from opdsl.data.generate.problems import burgers, reaction_diffusion
from opdsl.data.generate.solvers import allen_cahn, exponential
from opdsl.data.generate.solvers.viscous_burgers import ColeHopf, sine_series
from opdsl.diagnostics import OpError
from opdsl.sampling import SAMPLINGS, positions

SMALL = {
    burgers: {"resolution": 17, "viscosity": 0.05, "terms": 6},
    reaction_diffusion: {"resolution": 17, "diffusivity": 0.01, "terms": 5, "time": 1.0},
}


def written(problem, path, **changes):
    settings = SMALL[problem] | {"samples": 2, "seed": 5, "out": path}
    report = problem.generate(**settings | changes)
    with h5py.File(path) as f:
        return report, *(f[f"t0_fields/{x}"][:, 0].astype(float) for x in ("initial", "final"))


def hopf_ratio(x, a, nu, t):
    """The solution as a quotient of sums of cosines: theta' / theta of the heat equation."""
    waves = np.pi * np.arange(1, len(a) + 1)
    m = 4000
    y = (np.arange(m) + 0.5) / m
    theta = np.exp(-((1 - np.cos(np.outer(y, waves))) / waves) @ a / (2 * nu))
    k = np.pi * np.arange(200)
    c = np.where(k == 0, 1, 2) * (np.cos(np.outer(k, y)) @ theta) / m * np.exp(-nu * k**2 * t)
    return 2 * nu * (np.sin(np.outer(x, k)) @ (k * c)) / (np.cos(np.outer(x, k)) @ c)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_burgers_is_the_quotient_of_solutions_of_the_heat_equation(tmp_path, sampling):
    _, before, after = written(burgers, tmp_path / "b.h5", sampling=sampling, time=0.7)
    x = np.array(positions(sampling, 17))
    for i in range(2):
        a = burgers.amplitudes(5, i, 6)
        assert before[i] == pytest.approx(np.sin(np.pi * np.outer(x, range(1, 7))) @ a, abs=1e-6)
        assert after[i] == pytest.approx(hopf_ratio(x, a, 0.05, 0.7), abs=1e-6)
        assert np.abs(after[i] - before[i]).max() > 0.1


def test_both_solutions_of_burgers_agree_with_the_quotient():
    a = np.array([1.0, -0.4, 0.2])
    x = np.arange(1, 128) / 128
    expected = hopf_ratio(x, a, 0.02, 0.5)
    assert ColeHopf(x, np.abs(a), 0.02, 0.5).solve(a) == pytest.approx(expected, abs=1e-9)
    assert sine_series(a, 0.02, 0.5, 127) == pytest.approx(expected, abs=1e-8)


def test_burgers_is_zero_at_both_ends_and_loses_energy(tmp_path):
    _, before, after = written(burgers, tmp_path / "b.h5", resolution=129)
    assert not before[:, [0, -1]].any()
    assert not after[:, [0, -1]].any()
    assert np.all((after**2).sum(1) < (before**2).sum(1))


def test_small_amplitudes_of_burgers_decay_as_heat():
    a = 1e-7 * np.array([1.0, 0.0, -0.5])
    x = np.linspace(0, 1, 9)[1:-1]
    waves = np.pi * np.arange(1, 4)
    expected = np.sin(np.outer(x, waves)) @ (a * np.exp(-0.05 * waves**2))
    assert ColeHopf(x, np.abs(a), 0.05, 1.0).solve(a) == pytest.approx(expected, abs=1e-13)


def coefficients(modes=24, size=1.0):
    rng = np.random.default_rng(0)
    c = np.zeros((modes, modes))
    c[:3, :3] = size * rng.uniform(-1, 1, (3, 3))
    return c


@pytest.mark.parametrize("solve", [allen_cahn.spectral, allen_cahn.split])
def test_small_cosines_grow_as_the_linear_equation_says(solve):
    c = coefficients(size=1e-6)
    k = np.pi * np.arange(24)
    expected = c * np.exp(0.5 * (1 - 0.03 * (k[:, None] ** 2 + k**2)))
    assert solve(c, 0.03, 0.5, 20) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("solve", [allen_cahn.spectral, allen_cahn.split])
def test_a_uniform_state_follows_the_reaction_alone(solve):
    c = np.zeros((8, 8))
    c[0, 0] = 0.3
    after = solve(c, 0.5, 2.0, 200)
    expected = 0.3 / np.sqrt(0.09 + 0.91 * np.exp(-4.0))
    assert after[0, 0] == pytest.approx(expected, abs=1e-8)
    after[0, 0] = 0
    assert after == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("solve", "least", "most"), [(allen_cahn.split, 1.8, 2.2), (allen_cahn.spectral, 3.7, 6.0)]
)
def test_errors_fall_with_the_order_of_the_method(solve, least, most):
    c = coefficients()
    exact = allen_cahn.spectral(c, 0.02, 1.0, 400)
    errors = [np.linalg.norm(solve(c, 0.02, 1.0, n) - exact) for n in (10, 20, 40)]
    for coarse, fine in pairwise(errors):
        assert least <= np.log2(coarse / fine) <= most


def test_weights_of_exponential_differencing_are_those_of_runge_kutta_without_a_linear_part():
    q, *f = exponential._weights(np.zeros(1), 0.5)
    assert q == pytest.approx(0.25)
    assert [float(x[0]) for x in f] == pytest.approx([0.5 / 6, 0.5 / 6 * 2, 0.5 / 6])


def test_cosines_have_these_values_at_cell_centres():
    c = coefficients(8)
    x = np.cos(np.pi * np.outer((np.arange(8) + 0.5) / 8, np.arange(8)))
    assert allen_cahn.values(c) == pytest.approx(x @ c @ x.T, abs=1e-13)
    assert allen_cahn.cosine_coefficients(x @ c @ x.T) == pytest.approx(c, abs=1e-13)


def test_the_slope_at_the_walls_vanishes_under_refinement(tmp_path):
    slopes = []
    for n in (65, 129):
        _, before, after = written(reaction_diffusion, tmp_path / "r.h5", resolution=n)
        for x in (before, after):
            ends = (x[:, 1] - x[:, 0], x[:, -1] - x[:, -2], x[..., 1] - x[..., 0])
            slopes.append(np.abs(np.concatenate([e.ravel() for e in ends])).max() * (n - 1))
    assert slopes[2] < 0.55 * slopes[0]  # of first order where the slope is zero
    assert slopes[3] < 0.55 * slopes[1]


def test_the_change_of_the_mean_is_that_of_the_reaction():
    # diffusion conserves the mean: its rate of change is that of the mean of u - u^3
    c = coefficients()
    step = 1e-3
    before, after = (allen_cahn.spectral(c, 0.02, t, 400) for t in (1 - step, 1 + step))
    u = allen_cahn.values(allen_cahn.spectral(c, 0.02, 1.0, 400))
    rate = (after[0, 0] - before[0, 0]) / (2 * step)
    assert rate == pytest.approx((u - u**3).mean(), rel=1e-5)
    assert abs(rate) > 1e-3


def test_states_keep_their_bounds(tmp_path):
    _, before, after = written(reaction_diffusion, tmp_path / "r.h5", samples=20, resolution=33)
    for x, y in zip(before, after, strict=True):
        assert np.abs(y).max() <= max(1, np.abs(x).max()) + 1e-6


@pytest.mark.parametrize("problem", SMALL)
def test_files_of_one_seed_agree_where_their_points_coincide(tmp_path, problem):
    _, *coarse = written(problem, tmp_path / "17.h5")
    _, *fine = written(problem, tmp_path / "65.h5", resolution=65, samples=3)
    _, *centres = written(problem, tmp_path / "c.h5", resolution=16, sampling="centres")
    every = (slice(None, 2), *(slice(None, None, 4),) * (fine[0].ndim - 1))
    middle = (slice(None, 2), *(slice(2, None, 4),) * (fine[0].ndim - 1))
    for few, many, centre in zip(coarse, fine, centres, strict=True):
        assert few == pytest.approx(many[every], abs=1e-6)
        assert centre == pytest.approx(many[middle], abs=1e-6)


@pytest.mark.parametrize(
    ("problem", "boundary"), [(burgers, "dirichlet"), (reaction_diffusion, "neumann")]
)
def test_the_file_says_what_holds_at_its_walls(tmp_path, problem, boundary):
    written(problem, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as f:
        assert f["boundary_conditions/x_wall"].attrs["bc_type"] == "WALL"
        assert (f.attrs["boundary"], f.attrs["sampling"]) == (boundary, "both")
    data = open_dataset(tmp_path / "a.h5")
    assert data.roles == {"initial": "input", "final": "output"}
    assert set(data.resolution) == {17}


@pytest.mark.parametrize("problem", SMALL)
def test_equal_settings_give_equal_bytes_and_another_seed_other_data(tmp_path, problem):
    for name in ("a.h5", "b.h5"):
        written(problem, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    _, a, _ = written(problem, tmp_path / "a.h5")
    _, b, _ = written(problem, tmp_path / "b.h5", seed=6)
    assert not np.array_equal(a, b)


WRONG = [
    *((p, x) for p in SMALL for x in ({"resolution": 2}, {"samples": 0}, {"seed": -1})),
    *((p, x) for p in SMALL for x in ({"terms": 0}, {"terms": 10_000}, {"sampling": "edges"})),
    *((p, {"time": x}) for p in SMALL for x in (-1.0, 0.0, 1e6, float("nan"))),
    *((burgers, {"viscosity": x}) for x in (0.0, 5.0, float("nan"))),
    *((reaction_diffusion, {"diffusivity": x}) for x in (0.0, 5.0, float("nan"))),
]


@pytest.mark.parametrize(("problem", "changes"), WRONG)
def test_settings_that_do_not_fit_are_refused(tmp_path, problem, changes):
    with pytest.raises(OpError) as caught:
        written(problem, tmp_path / "a.h5", **changes)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0604"
    assert list(tmp_path.iterdir()) == []


UNSOUND = [
    (burgers, "sine_series", lambda true: lambda *x: 1.001 * true(*x), "differ by"),
    (reaction_diffusion, "split", lambda true: lambda *x: 1.001 * true(*x), "differs by"),
    (reaction_diffusion, "SLACK", -2.0, "above its bound"),
    (reaction_diffusion, "TAIL", 0.0, "cut off"),
]


@pytest.mark.parametrize(("problem", "name", "change", "message"), UNSOUND)
def test_a_solution_that_fails_a_check_leaves_no_file(
    tmp_path, monkeypatch, problem, name, change, message
):
    value = change(getattr(problem, name)) if callable(change) else change
    monkeypatch.setattr(problem, name, value)
    with pytest.raises(OpError) as caught:
        written(problem, tmp_path / "a.h5")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0617"
    assert message in diagnostic.message
    assert list(tmp_path.iterdir()) == []
