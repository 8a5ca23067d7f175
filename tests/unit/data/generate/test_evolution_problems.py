"""Burgers and reaction-diffusion data, against finite differences and integrators of SciPy."""

import h5py
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from opdsl.data.generate.problems import burgers, reaction_diffusion
from opdsl.data.generate.solvers.exponential import etdrk4
from opdsl.data.generate.solvers.viscous_burgers import ColeHopf, sine_series
from opdsl.diagnostics import OpError
from opdsl.sampling import SAMPLINGS, positions

QUICK = {reaction_diffusion: {"diffusivity": 0.01, "terms": 4, "time": 1.0}, burgers: {}}


def written(problem, path, **changes):
    settings = {"resolution": 17, "samples": 2, "seed": 5, "out": path} | QUICK[problem]
    report = problem.generate(**settings | changes)
    with h5py.File(path) as f:
        initial, final = (f[f"t0_fields/{x}"][:, 0].astype(float) for x in ("initial", "final"))
    return report, initial, final


def test_exponential_differencing_converges_with_order_four():
    linear = np.array([-1000.0, -1.0, 0.0])
    start = np.array([1.0, 0.5, 0.2])

    def nonlinear(v):
        return np.stack([v[1] * v[2], -(v[2] ** 2) + v[1], np.cos(v[1])])

    exact = solve_ivp(
        lambda _, v: linear * v + nonlinear(v), (0, 1), start, "Radau", rtol=1e-11, atol=1e-13
    ).y[:, -1]
    errors = [np.abs(etdrk4(start, linear, nonlinear, 1.0, n) - exact).max() for n in (10, 20, 40)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.4)
    assert errors[2] < 1e-7


@pytest.mark.parametrize(("viscosity", "time"), [(0.01, 1.0), (0.05, 0.01), (0.2, 0.3)])
def test_quadrature_of_the_formula_equals_finite_differences_and_sines(viscosity, time):
    a = np.array([0.8, -0.5, 0.0, 0.3])
    n = 400
    x = np.arange(1, n) / n

    def slope(_, u):
        wide = np.pad(u, 1)
        flux = (wide[2:] ** 2 - wide[:-2] ** 2) * n / 4
        return viscosity * (wide[2:] - 2 * u + wide[:-2]) * n**2 - flux

    start = np.sin(np.pi * np.outer(x, np.arange(1, 5))) @ a
    differences = solve_ivp(
        slope, (0, time), start, "LSODA", rtol=1e-8, atol=1e-10, lband=1, uband=1
    ).y[:, -1]
    u = ColeHopf(x, np.abs(a), viscosity, time).solve(a)
    size = np.abs(u).max()
    assert np.abs(u - differences).max() < 2e-3 * size
    assert np.abs(u - sine_series(a, viscosity, time, n - 1)).max() < 1e-8 * size


def test_quadrature_in_pieces_gives_the_same_numbers(monkeypatch):
    a, x = np.array([0.5, -0.7]), np.linspace(0, 1, 50)
    whole = ColeHopf(x, np.abs(a), 0.01, 1.0).solve(a)
    monkeypatch.setattr("opdsl.data.generate.solvers.viscous_burgers.WEIGHTS", 3000)
    assert ColeHopf(x, np.abs(a), 0.01, 1.0).solve(a) == pytest.approx(whole, abs=1e-14)


def test_amplitudes_fall_with_the_wave_number():
    k = np.arange(1, 9)
    a = np.array([burgers.amplitudes(3, i, 8) for i in range(200)]) * k
    assert a.var(0) == pytest.approx(1 / 3, rel=0.25)
    reaction = reaction_diffusion.Reaction(3, 0.01, 1.0)
    c = np.array([reaction_diffusion.initial(3, i, reaction) for i in range(200)])
    decay = 1 + np.add.outer(np.arange(3) ** 2, np.arange(3) ** 2)
    assert (c[:, :3, :3] * decay).var(0) == pytest.approx(1 / 3, rel=0.25)
    assert not c[:, 3:].any()
    assert not c[:, :, 3:].any()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_input_is_the_sum_of_its_cosines_on_every_sampling(tmp_path, sampling):
    _, initial, _ = written(reaction_diffusion, tmp_path / "r.h5", sampling=sampling)
    k = np.arange(4)
    basis = np.cos(np.pi * np.outer(positions(sampling, 17), k))
    reaction = reaction_diffusion.Reaction(4, 0.01, 1.0)
    c = reaction_diffusion.initial(5, 1, reaction)[:4, :4]
    assert initial[1] == pytest.approx(basis @ c @ basis.T, abs=1e-6)


def test_the_output_satisfies_allen_cahn_by_differences(tmp_path):
    n, step = 129, 2e-2
    before, now, after = (
        written(reaction_diffusion, tmp_path / "r.h5", resolution=n, time=1 + k * step)[2]
        for k in (-1, 0, 1)
    )
    change = (after - before)[:, 1:-1, 1:-1] / (2 * step)
    sides = now[:, 2:, 1:-1] + now[:, :-2, 1:-1] + now[:, 1:-1, 2:] + now[:, 1:-1, :-2]
    inner = now[:, 1:-1, 1:-1]
    diffusion = 0.01 * (sides - 4 * inner) * (n - 1) ** 2
    reaction = inner - inner**3
    assert np.abs(change - diffusion - reaction).max() < 0.02 * np.abs(change).max()


@pytest.mark.parametrize("problem", QUICK)
def test_a_sample_does_not_depend_on_the_number_of_samples(tmp_path, problem):
    _, _, few = written(problem, tmp_path / "a.h5", samples=1)
    _, _, many = written(problem, tmp_path / "b.h5", samples=18)
    assert few[0] == pytest.approx(many[0], abs=1e-7)
    assert len(many) == 18
    assert len({x.tobytes() for x in many}) == 18


@pytest.mark.parametrize(
    ("index", "size", "message"), [((0, 0), 5.0, "above its bound"), ((-1, 0), 1e-3, "cut off")]
)
def test_a_sample_that_breaks_a_property_leaves_no_file(
    tmp_path, monkeypatch, index, size, message
):
    true = reaction_diffusion.final

    def final(start, reaction):
        c = true(start, reaction)
        if c.ndim == 3:  # the check of the first sample has no batch
            c[1][index] = size
        return c

    monkeypatch.setattr(reaction_diffusion, "final", final)
    with pytest.raises(OpError) as caught:
        written(reaction_diffusion, tmp_path / "a.h5")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0617"
    assert "sample 1" in diagnostic.message
    assert message in diagnostic.message
    assert list(tmp_path.iterdir()) == []
