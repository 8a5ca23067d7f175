"""Burgers and reaction-diffusion data, against independent solutions and closed forms."""

import h5py
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from opdsl.data import open_dataset
from opdsl.data.generate.problems import burgers, reaction_diffusion
from opdsl.data.generate.solvers import allen_cahn
from opdsl.data.generate.solvers.exponential import etdrk4
from opdsl.data.generate.solvers.viscous_burgers import ColeHopf, sine_series
from opdsl.diagnostics import OpError
from opdsl.sampling import SAMPLINGS, positions

QUICK = {reaction_diffusion: {"diffusivity": 0.01, "terms": 4, "time": 1.0}, burgers: {}}


def written(problem, path, **changes):
    settings = {"resolution": 17, "samples": 2, "seed": 5, "out": path} | QUICK[problem]
    report = problem.generate(**settings | changes)
    with h5py.File(path) as f:
        initial, final = (f[f"t0_fields/{x}"][()].astype(float) for x in ("initial", "final"))
    return report, initial, final


# --- solvers ------------------------------------------------------------------------------------


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


def test_slow_flow_decays_as_heat():
    a = 1e-7 * np.array([1.0, 2.0])
    x = np.array([0.1, 0.35, 0.8])
    u = ColeHopf(x, np.abs(a), 0.1, 0.5).solve(a)
    decay = np.exp(-0.05 * np.pi**2 * np.array([1, 4]))
    exact = np.sin(np.pi * np.outer(x, [1, 2])) @ (a * decay)
    assert u == pytest.approx(exact, abs=1e-13)


def test_quadrature_in_pieces_gives_the_same_numbers(monkeypatch):
    a, x = np.array([0.5, -0.7]), np.linspace(0, 1, 50)
    whole = ColeHopf(x, np.abs(a), 0.01, 1.0).solve(a)
    monkeypatch.setattr("opdsl.data.generate.solvers.viscous_burgers.WEIGHTS", 3000)
    assert ColeHopf(x, np.abs(a), 0.01, 1.0).solve(a) == pytest.approx(whole, abs=1e-14)


def test_coefficients_of_cosines_are_those_of_the_functions():
    c = np.random.default_rng(0).normal(size=(2, 6, 6))
    basis = np.cos(np.pi * np.outer(positions("centres", 6), np.arange(6)))
    values = allen_cahn.values(c)
    assert values == pytest.approx(basis @ c @ basis.T, abs=1e-13)
    assert allen_cahn.cosine_coefficients(values) == pytest.approx(c, abs=1e-13)


def test_cosines_of_small_amplitude_grow_and_decay_in_closed_form():
    c = 1e-6 * np.random.default_rng(0).normal(size=(8, 8))
    k = np.arange(8)
    exact = c * np.exp(0.3 * (1 - 0.02 * np.pi**2 * (k[:, None] ** 2 + k**2)))
    assert allen_cahn.spectral(c, 0.02, 0.3, 5) == pytest.approx(exact, abs=1e-15)
    assert allen_cahn.split(c, 0.02, 0.3, 5) == pytest.approx(exact, abs=1e-15)


def test_a_constant_reacts_in_closed_form():
    c = np.zeros((4, 4))
    c[0, 0] = 0.3
    grown = 0.09 * np.exp(2 * 1.5)
    exact = np.sqrt(grown / (1 - 0.09 + grown))
    fine = allen_cahn.spectral(c, 0.01, 1.5, 80)
    assert fine[0, 0] == pytest.approx(exact, abs=1e-8)
    assert allen_cahn.split(c, 0.01, 1.5, 2)[0, 0] == pytest.approx(exact, abs=1e-12)
    assert np.abs(fine).sum() == pytest.approx(exact, abs=1e-8)


def test_the_reaction_converges_with_order_four_and_splitting_with_order_two():
    reaction = reaction_diffusion.Reaction(4, 0.004, 2.5)
    start = reaction_diffusion.initial(1, 0, reaction)
    law = (0.004, 2.5)
    exact = allen_cahn.spectral(start, *law, 320)

    def errors(solver):
        return [np.linalg.norm(solver(start, *law, n) - exact) for n in (20, 40)]

    rough, fine = errors(allen_cahn.spectral)
    assert np.log2(rough / fine) == pytest.approx(4, abs=0.4)
    rough, fine = errors(allen_cahn.split)
    assert np.log2(rough / fine) == pytest.approx(2, abs=0.2)


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


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_input_is_the_sum_of_its_sines_on_every_sampling(tmp_path, sampling):
    _, initial, final = written(burgers, tmp_path / "b.h5", sampling=sampling)
    x, k = np.array(positions(sampling, 17)), np.arange(1, 17)
    a = burgers.amplitudes(5, 1, 16)
    assert initial[1] == pytest.approx(np.sin(np.pi * np.outer(x, k)) @ a, abs=1e-6)
    assert final[1] == pytest.approx(ColeHopf(x, 1 / k, 0.01, 1.0).solve(a), abs=1e-6)


def test_flows_vanish_exactly_at_both_ends(tmp_path):
    _, initial, final = written(burgers, tmp_path / "b.h5")
    for u in (initial, final):
        assert not u[:, [0, -1]].any()
        assert u[:, 1:-1].all()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_input_is_the_sum_of_its_cosines_on_every_sampling(tmp_path, sampling):
    _, initial, _ = written(reaction_diffusion, tmp_path / "r.h5", sampling=sampling)
    k = np.arange(4)
    basis = np.cos(np.pi * np.outer(positions(sampling, 17), k))
    reaction = reaction_diffusion.Reaction(4, 0.01, 1.0)
    c = reaction_diffusion.initial(5, 1, reaction)[:4, :4]
    assert initial[1] == pytest.approx(basis @ c @ basis.T, abs=1e-6)


def test_no_flux_passes_the_walls(tmp_path):
    slopes = []
    for n in (65, 129):
        _, _, final = written(reaction_diffusion, tmp_path / "r.h5", resolution=n)
        one_sided = (-3 * final[:, 0] + 4 * final[:, 1] - final[:, 2]) * (n - 1) / 2
        slopes.append(np.abs(one_sided).max() / np.abs(np.gradient(final, axis=1)).max() / (n - 1))
    assert slopes[0] < 0.02
    assert slopes[1] < slopes[0] / 3


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
def test_files_of_one_seed_agree_where_their_points_coincide(tmp_path, problem):
    _, *coarse = written(problem, tmp_path / "17.h5")
    _, *fine = written(problem, tmp_path / "65.h5", resolution=65, samples=3)
    _, *centres = written(problem, tmp_path / "c.h5", resolution=16, sampling="centres")
    for few, many, middle in zip(coarse, fine, centres, strict=True):
        skip = (slice(None), *[slice(None, None, 4)] * (few.ndim - 1))
        shifted = (slice(None), *[slice(2, None, 4)] * (few.ndim - 1))
        assert few == pytest.approx(many[:2][skip], abs=2e-7)
        assert middle == pytest.approx(many[:2][shifted], abs=2e-7)


@pytest.mark.parametrize("problem", QUICK)
def test_a_sample_does_not_depend_on_the_number_of_samples(tmp_path, problem):
    _, _, few = written(problem, tmp_path / "a.h5", samples=1)
    _, _, many = written(problem, tmp_path / "b.h5", samples=18)
    assert few[0] == pytest.approx(many[0], abs=1e-7)
    assert len(many) == 18
    assert len({x.tobytes() for x in many}) == 18


@pytest.mark.parametrize("problem", QUICK)
def test_equal_settings_give_equal_bytes_and_another_seed_other_data(tmp_path, problem):
    for name in ("a.h5", "b.h5"):
        written(problem, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    _, a, _ = written(problem, tmp_path / "a.h5")
    _, b, _ = written(problem, tmp_path / "b.h5", seed=6)
    assert not np.array_equal(a, b)


@pytest.mark.parametrize(
    ("problem", "condition", "axes"),
    [(burgers, "dirichlet", ["x"]), (reaction_diffusion, "neumann", ["x", "y"])],
)
def test_the_file_names_its_fields_and_conditions(tmp_path, problem, condition, axes):
    written(problem, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as f:
        assert f.attrs["boundary"] == condition
        assert set(f["boundary_conditions"]) == {f"{x}_wall" for x in axes}
    data = open_dataset(tmp_path / "a.h5")
    assert data.roles == {"initial": "input", "final": "output"}
    assert (data.layout, data.resolution) == ("node", (17,) * len(axes))


WRONG = [
    (burgers, {"resolution": 2}),
    (burgers, {"resolution": 1 << 20}),
    (burgers, {"terms": 0}),
    (burgers, {"terms": 65}),
    (burgers, {"viscosity": 0.0}),
    (burgers, {"viscosity": float("nan")}),
    (burgers, {"time": 0.0}),
    (burgers, {"time": float("inf")}),
    (burgers, {"sampling": "edges"}),
    (reaction_diffusion, {"resolution": 1 << 13}),
    (reaction_diffusion, {"samples": 0}),
    (reaction_diffusion, {"terms": 33}),
    (reaction_diffusion, {"diffusivity": 0.0}),
    (reaction_diffusion, {"diffusivity": float("nan")}),
    (reaction_diffusion, {"time": 11.0}),
]


@pytest.mark.parametrize(("problem", "changes"), WRONG)
def test_settings_that_do_not_fit_are_refused(tmp_path, problem, changes):
    with pytest.raises(OpError) as caught:
        written(problem, tmp_path / "a.h5", **changes)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0604"
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_quadrature_leaves_no_file(tmp_path, monkeypatch):
    true = ColeHopf.solve
    monkeypatch.setattr(ColeHopf, "solve", lambda self, a: true(self, a) * 1.001)
    with pytest.raises(OpError) as caught:
        written(burgers, tmp_path / "a.h5")
    assert caught.value.diagnostics[0].code == "OP0617"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c * 1.001, "splitting differs by"),
        (lambda c: c * np.nan, "splitting differs by nan"),
    ],
)
def test_a_wrong_reaction_leaves_no_file(tmp_path, monkeypatch, change, message):
    true = reaction_diffusion.spectral
    monkeypatch.setattr(reaction_diffusion, "spectral", lambda *a: change(true(*a)))
    with pytest.raises(OpError) as caught:
        written(reaction_diffusion, tmp_path / "a.h5")
    assert message in caught.value.diagnostics[0].message
    assert list(tmp_path.iterdir()) == []


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
