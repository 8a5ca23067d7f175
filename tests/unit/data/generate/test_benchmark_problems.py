"""Transport, Allen-Cahn, shear layers and smooth coefficients, and the folder of the benchmarks."""

import json

import h5py
import numpy as np
import pytest

from opdsl.data.generate.problems import allen_cahn, darcy, poisson, rpb, shear_layer, transport
from opdsl.data.generate.sampling.fourier import coefficients_of, gaussian_series, on_grid
from opdsl.data.generate.sampling.sine_laws import SineLaw
from opdsl.data.generate.sampling.smooth_field import smooth_field
from opdsl.data.generate.solvers import periodic_reaction
from opdsl.diagnostics import OpError
from opdsl.sampling import PERIODIC, positions

SMALL = {
    transport: {},
    allen_cahn: {"rate": 30.0, "time": 0.005, "terms": 6},
    shear_layer: {"time": 0.01, "fine": 96},
}


def written(problem, path, **changes):
    settings = {"resolution": 16, "samples": 2, "seed": 5, "out": path} | SMALL[problem]
    report = problem.generate(**settings | changes)
    with h5py.File(path) as f:
        return report, *(f[f"t0_fields/{x}"][:, 0].astype(float) for x in ("initial", "final"))


def centroid(u, x):
    """The centre of mass on the torus, by the argument of the first frequency."""
    waves = np.exp(2j * np.pi * x)
    sums = (u.sum(2) @ waves, u.sum(1) @ waves)
    return np.stack([np.angle(s) / (2 * np.pi) for s in sums], 1) % 1


@pytest.mark.parametrize("shape", ["smooth", "disc"])
@pytest.mark.parametrize(("law", "low"), [("in", 0.2), ("out", 0.4)])
def test_a_shape_moves_with_the_velocity(tmp_path, shape, law, low):
    _, before, after = written(
        transport, tmp_path / "t.h5", shape=shape, distribution=law, resolution=64, samples=25
    )
    x = np.arange(64) / 64
    start, end = centroid(before, x), centroid(after, x)
    moved = (end - start + 0.5) % 1 - 0.5
    assert moved == pytest.approx(np.tile([0.2, -0.2], (25, 1)), abs=4e-3)
    assert start.min() > low - 4e-3
    assert start.max() < low + 0.2 + 4e-3
    assert np.ptp(start, axis=0).min() > 0.1
    areas = before.mean((1, 2)) / np.pi
    least, most = (0.006, 0.018) if shape == "smooth" else (0.01, 0.04)
    assert least * 0.95 < areas.min() < areas.max() < most * 1.05
    assert areas.max() > 1.8 * areas.min()
    if shape == "disc":
        assert set(np.unique(after)) == {0.0, 1.0}


@pytest.mark.parametrize("sampling", PERIODIC)
def test_a_gaussian_is_the_sum_of_its_images(tmp_path, sampling):
    _, _, after = written(transport, tmp_path / "t.h5", sampling=sampling, time=7.0)
    x = np.array(positions(sampling, 16))
    u = transport.function(5, 0, "smooth", "in")
    fractions = (1 + np.asarray(transport.uniforms(5, 0, 3))) / 2
    (a, b), s = 0.2 + 0.2 * fractions[:2], 0.003 + 0.006 * fractions[2]
    expected = sum(
        np.exp(-((x[:, None] - a - 1.4 - i) ** 2 + (x - b + 1.4 - j) ** 2) / (2 * s))
        for i in range(-4, 5)
        for j in range(-4, 5)
    )
    assert after[0] == pytest.approx(expected, abs=1e-6)
    assert u(x, x, 7.0) == pytest.approx(expected, abs=1e-12)


def test_a_uniform_state_follows_the_reaction_alone():
    c = np.zeros((9, 5), complex)
    c[0, 0] = 0.3
    expected = 0.3 / np.sqrt(0.09 + 0.91 * np.exp(-2.0))
    for solve in (periodic_reaction.spectral, periodic_reaction.split):
        after = solve(c, 100.0, 0.01, 80)
        assert after[0, 0] == pytest.approx(expected, abs=1e-8)
        assert np.abs(after.ravel()[1:]).max() < 1e-12


def test_small_series_grow_as_the_linear_equation_says():
    k = np.concatenate([np.arange(5), np.arange(-4, 0)])[:, None] ** 2 + np.arange(5) ** 2
    c = 1e-6 * gaussian_series(0, 0, np.exp(-k / 4.0))
    expected = c * np.exp(0.01 * (50 - 4 * np.pi**2 * k))
    for solve in (periodic_reaction.spectral, periodic_reaction.split):
        assert solve(c, 50.0, 0.01, 10) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("solve", "order"), [("spectral", 4), ("split", 2)])
def test_errors_of_the_reaction_fall_with_their_order(solve, order):
    k = np.concatenate([np.arange(13), np.arange(-12, 0)])[:, None] ** 2 + np.arange(13) ** 2
    c = 0.3 * gaussian_series(0, 0, np.exp(-k / 2.0))
    exact = periodic_reaction.spectral(c, 100.0, 0.02, 160)
    run = getattr(periodic_reaction, solve)
    errors = [np.linalg.norm(run(c, 100.0, 0.02, n) - exact) for n in (10, 20)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.5)


def test_allen_cahn_data_are_sines_at_first_and_keep_their_bounds(tmp_path):
    report, before, after = written(allen_cahn, tmp_path / "a.h5")
    law = SineLaw(6, 1.0)
    x = np.arange(16) / 16
    basis = np.sin(np.pi * np.outer(x, np.arange(1, 7)))
    a = allen_cahn.sine_coefficients(5, 1, law)
    assert before[1] == pytest.approx(basis @ a @ basis.T, abs=1e-7)
    assert np.abs(after).max() <= 1
    assert report.checks["gap"] < 1e-3


def test_straight_layers_stay_but_for_the_viscosity_of_high_frequencies(tmp_path, monkeypatch):
    monkeypatch.setattr(shear_layer, "SHIFT", 0.0)
    _, before, after = written(shear_layer, tmp_path / "s.h5", samples=1, time=0.2, resolution=48)
    y = np.arange(384) / 384
    profile = np.where(y <= 0.5, np.tanh(20 * np.pi * (y - 0.25)), np.tanh(20 * np.pi * (0.75 - y)))
    c = np.fft.rfft(profile)
    k = np.arange(len(c))
    c[k > 31] = 0
    decay = np.where(k >= 12, np.exp(-4e-4 * (2 * np.pi * k) ** 2 * 0.2), 1)
    for found, factor in ((before, 1), (after, decay)):
        expected = np.fft.irfft(factor * c)[::8]
        assert found[0] == pytest.approx(np.tile(expected, (48, 1)), abs=1e-5)


def test_the_state_at_first_is_the_part_of_the_layers_without_divergence():
    torus = shear_layer.solver(31).torus
    layers = shear_layer.LAWS["in"]
    w = shear_layer.initial(3, 0, layers, torus)
    c = np.fft.fft2(shear_layer.layer(3, 0, layers, 248)) / 248**2
    k = np.fft.fftfreq(248, 1 / 248)
    kx, ky = k[:, None], k[None]
    squared = np.where(kx**2 + ky**2 == 0, 1, kx**2 + ky**2)
    projected = np.where(np.maximum(abs(kx), abs(ky)) <= 31, c * (1 - kx**2 / squared), 0)
    projected[0, 0] = 0
    expected = (np.fft.ifft2(projected) * 248**2).real
    assert on_grid(torus.velocity(w)[0], 248, 2) == pytest.approx(expected, abs=1e-10)
    # nearly +1 in the middle and -1 at both ends, moved by at most 0.25
    assert shear_layer.layer(3, 0, layers, 8)[:, 4] == pytest.approx(np.ones(8), abs=0.1)


def test_the_energy_is_the_mean_square_of_the_velocity():
    torus = shear_layer.solver(31).torus
    w = shear_layer.initial(3, 0, shear_layer.LAWS["out"], torus)
    u = on_grid(torus.velocity(w), 96, 2)
    assert shear_layer.energy(torus, w) == pytest.approx((u**2).sum(0).mean())
    assert coefficients_of(u, 31, 2) == pytest.approx(torus.velocity(w), abs=1e-12)


@pytest.mark.parametrize("problem", [allen_cahn, shear_layer])
def test_samples_depend_neither_on_their_number_nor_on_the_workers(tmp_path, problem):
    _, *few = written(problem, tmp_path / "a.h5", samples=1, workers=1)
    _, *many = written(problem, tmp_path / "b.h5", samples=2, workers=2)
    for a, b in zip(few, many, strict=True):
        assert np.array_equal(a[0], b[0])
        assert not np.array_equal(b[0], b[1])


def test_smooth_fields_have_their_covariance_on_every_grid():
    u = np.stack([smooth_field(0, i, 0.2, 21) for i in range(800)])
    assert smooth_field(0, 3, 0.2, 41)[::2, ::2] == pytest.approx(u[3], abs=1e-12)
    assert (u**2).mean() == pytest.approx(1, rel=0.05)
    for i, j in ((2, 0), (0, 4), (3, 3)):
        pairs = u[:, : 21 - i, : 21 - j] * u[:, i:, j:]
        assert pairs.mean() == pytest.approx(np.exp(-(i**2 + j**2) / 16), abs=0.05)


def test_darcy_takes_the_scale_of_its_coefficient(tmp_path):
    darcy.generate(resolution=17, samples=1, seed=1, out=tmp_path / "d.h5", scale=0.1)
    with h5py.File(tmp_path / "d.h5") as f:
        a = f["t0_fields/coefficient"][0, 0]
        assert f.attrs["scale"] == 0.1
    assert np.array_equal(a, np.where(smooth_field(1, 0, 0.1, 17) >= 0, 12, 3))
    with pytest.raises(OpError, match="OP0604"):
        darcy.generate(resolution=17, samples=1, seed=1, out=tmp_path / "d.h5", scale=0.01)


def benchmarks(folder, **changes):
    settings = {"out": folder, "seed": 1, "resolution": 9, "samples": 2, "problem": "poisson"}
    return rpb.generate(**settings | changes)


def test_the_folder_has_a_file_for_each_split_and_is_resumed(tmp_path, monkeypatch):
    seen = []
    report = benchmarks(tmp_path / "r", progress=lambda *x: seen.append(x))
    files = sorted((tmp_path / "r/poisson").glob("*.h5"))
    assert [x.stem for x in files] == ["out", "test", "train", "valid"]
    assert seen[-1] == (report.samples, report.samples) == (8, 8)
    data = []
    for file in files:
        with h5py.File(file) as f:
            data.append(f["t0_fields/forcing"][()])
            assert f.attrs["terms"] == (20 if file.stem == "out" else 16)
    assert len({x.tobytes() for x in data}) == 4
    files[1].unlink()
    calls = []

    def again(**options):
        calls.append(options["out"])
        return poisson.generate(**options)

    changed = rpb.Benchmark(again, *list(rpb_fields(rpb.BENCHMARKS["poisson"]))[1:])
    monkeypatch.setitem(rpb.BENCHMARKS, "poisson", changed)
    assert benchmarks(tmp_path / "r").checks.keys() == report.checks.keys()
    assert calls == [files[1]]
    benchmarks(tmp_path / "r", distribution="out", samples=3)
    assert calls[1:] == [files[0]]


def rpb_fields(benchmark):
    return (getattr(benchmark, x) for x in ("generate", "options", "splits", "parallel"))


def test_a_damaged_record_means_that_nothing_is_complete(tmp_path):
    benchmarks(tmp_path / "r", distribution="out")
    (tmp_path / "r/poisson/done.json").write_text('{"out": 3}')
    benchmarks(tmp_path / "r", distribution="out")
    record = json.loads((tmp_path / "r/poisson/done.json").read_text())
    assert record["out"]["settings"]["samples"] == 2


def test_the_benchmarks_have_their_published_laws_and_numbers():
    assert {k: sum(x.splits) for k, x in rpb.BENCHMARKS.items()} == {
        "poisson": 1664,
        "wave": 1152,
        "smooth-transport": 1280,
        "discontinuous-transport": 1280,
        "allen-cahn": 640,
        "navier-stokes": 1134,
        "darcy": 640,
    }
    assert tuple(rpb.BENCHMARKS) == rpb.NAMES
    assert rpb.BENCHMARKS["discontinuous-transport"].options["out"] == {
        "distribution": "out",
        "shape": "disc",
    }
    assert rpb.BENCHMARKS["darcy"].options["out"] == {"scale": 0.05}


@pytest.mark.parametrize(
    "wrong",
    [
        {"problem": "airfoil"},
        {"distribution": "near"},
        {"samples": 0},
        {"seed": -1},
        {"resolution": 2},
    ],
)
def test_wrong_settings_of_the_benchmarks_are_refused(tmp_path, wrong):
    with pytest.raises(OpError, match="OP0604"):
        benchmarks(tmp_path / "r", **wrong)


WRONG = [
    *((p, x) for p in SMALL for x in ({"distribution": "near"}, {"resolution": 2})),
    *((p, {"time": x}) for p in SMALL for x in (-1.0, float("nan"))),
    (transport, {"shape": "square"}),
    (allen_cahn, {"rate": 1e9}),
    (allen_cahn, {"sampling": "both"}),
    (shear_layer, {"fine": 8}),
]


@pytest.mark.parametrize(("problem", "wrong"), WRONG)
def test_settings_out_of_range_are_refused(tmp_path, problem, wrong):
    with pytest.raises(OpError, match="OP0604"):
        written(problem, tmp_path / "a.h5", **wrong)
    assert list(tmp_path.iterdir()) == []
