"""Shallow water: a steady flow stays, mass and energy are kept, files are whole or absent."""

import math

import numpy as np
import pytest
import torch

from opdsl.data import open_dataset
from opdsl.data.generate.problems import shallow_water as swe
from opdsl.diagnostics import OpError
from opdsl.nn.sphere.harmonics import inverse_sht, sht
from opdsl.nn.sphere.sampling import latitudes
from opdsl.nn.sphere.vector import inverse_vector_sht

GRID = "gauss_legendre"


@pytest.fixture
def small(monkeypatch):
    """Fewer degrees and longer steps: most tests are about everything else."""
    monkeypatch.setattr(swe, "LMAX", 14)
    monkeypatch.setattr(swe, "STEP", 600 * swe.RATE)
    monkeypatch.setattr(swe, "CLOSE", 0.1)


def made(path, **changes):
    settings = {"resolution": 12, "samples": 3, "seed": 5, "out": path}
    report = swe.generate(**settings | changes)
    with np.load(path) as held:
        return report, held["x"], held["y"]


def test_a_balanced_rotation_is_steady():
    """Williamson et al. 1992, case 2: zeta = 2 U cos, phi = -(U + U^2) / 2 cos^2."""
    speed, lmax = 0.05, 21
    cos = latitudes(32, GRID)[0][:, None].expand(32, 65)
    fields = (-(speed + speed**2) / 2 * cos**2, 2 * speed * cos, 0 * cos)
    z = sht(torch.stack(fields, -1)[None], lmax, GRID)
    assert swe.tendency(z).abs().max() < 1e-12
    moved = sht(torch.stack((fields[0] * 1.01, *fields[1:]), -1)[None], lmax, GRID)
    assert swe.tendency(moved).abs().max() > 1e-6


def test_mass_and_energy_are_kept():
    z = swe.random_state(3, 0, 31)
    after = swe.advance(z, 3 * 3600 * swe.RATE)
    assert abs((after - z)[0, 0, 0, 0]) < 1e-15
    assert abs(energy(after) / energy(z) - 1) < 1e-5


def energy(z: torch.Tensor) -> float:
    """The mean of (Phi + phi) |u|^2 / 2 + phi^2 / 2."""
    lmax, size = z.shape[1] - 1, (64, 130)
    l = torch.arange(lmax + 1, dtype=torch.float64)[:, None, None]  # noqa: E741  the degree
    flow = -z[..., 1:] / (l * (l + 1)).clamp(min=1)
    u = inverse_vector_sht(flow[..., 1:], flow[..., :1], size, GRID)
    phi = inverse_sht(z[..., :1], size, GRID)[..., 0]
    density = (swe.PHI + phi) * u.square().sum((-1, -2)) / 2 + phi**2 / 2
    _, w = latitudes(size[0], GRID)
    return float((density.mean(2) * w).sum())


def test_the_time_step_is_of_fourth_order():
    z, duration = swe.random_state(1, 0, 15), 3600 * swe.RATE
    exact = swe.advance(z, duration, duration / 64)
    gaps = [(swe.advance(z, duration, duration / n) - exact).norm() for n in (8, 16)]
    assert 12 < gaps[0] / gaps[1] < 20


def test_a_gravity_wave_of_one_degree_turns_as_it_should():
    """Without rotation and wind phi_l turns with the frequency sqrt(Phi l (l + 1))."""
    z = torch.zeros(1, 16, 16, 3, dtype=torch.complex128)
    z[0, 12, 0, 0] = 1e-9
    period = 2 * math.pi / math.sqrt(swe.PHI * 12 * 13)
    after = swe.advance(z, period, period / 40)
    # the rotation detunes degree 12 by some per cent of the square of 1 / its frequency
    torch.testing.assert_close(after[0, 12, 0, 0].real, z[0, 12, 0, 0].real, rtol=0.06, atol=0)


@pytest.mark.usefixtures("small")
def test_files_of_one_seed_sample_the_same_functions(tmp_path):
    _, coarse, _ = made(tmp_path / "a.npz", resolution=12)
    _, fine, _ = made(tmp_path / "b.npz", resolution=23)
    # both have the poles, so every second latitude is common; of the longitudes only the first is
    np.testing.assert_allclose(fine[:, :, ::2, 0], coarse[:, :, :, 0], rtol=1e-4, atol=1e-9)


@pytest.mark.usefixtures("small")
def test_a_sample_depends_on_its_index_alone(tmp_path, monkeypatch):
    _, x, y = made(tmp_path / "a.npz", samples=2)
    monkeypatch.setattr(swe, "BATCH", 2)
    _, more_x, more_y = made(tmp_path / "b.npz", samples=3)
    np.testing.assert_allclose(more_x[:2], x)
    np.testing.assert_allclose(more_y[:2], y, rtol=1e-4, atol=1e-9)


@pytest.mark.usefixtures("small")
def test_the_file_is_read_as_two_fields_of_three_channels(tmp_path):
    report, x, _ = made(tmp_path / "a.npz")
    assert (report.samples, x.shape) == (3, (3, 3, 12, 24))
    assert 0.06 < x[:, 0].std() < 0.24  # kilometres
    fields = open_dataset(str(tmp_path / "a.npz"))
    assert fields.values["x"].shape == (3, 3, 12, 24)
    assert fields.resolution == (12, 24)


@pytest.mark.usefixtures("small")
def test_a_solution_that_does_not_converge_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(swe, "CLOSE", 1e-9)
    with pytest.raises(OpError, match="OP0617"):
        made(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [
    {"resolution": 3}, {"samples": 0}, {"seed": -1}, {"hours": 0}, {"hours": math.nan},
    {"hours": 100},
])  # fmt: skip
def test_settings_that_do_not_fit_are_refused(tmp_path, change):
    with pytest.raises(OpError, match="OP0604"):
        made(tmp_path / "a.npz", **change)
    with pytest.raises(OpError, match="OP0604"):
        made(tmp_path / "a.h5")
