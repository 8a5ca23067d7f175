"""Spectra of single waves in closed form, and their sums by Parseval's theorem."""

import numpy as np
import pytest
import torch

from opdsl.nn.sphere.harmonics import inverse_sht
from opdsl.nn.sphere.sampling import latitudes
from opdsl.sampling import SAMPLINGS, line_weights, positions
from opdsl.train.metrics.energy_spectrum import grid_spectrum, sphere_spectrum
from opdsl.train.metrics.norms import GridAxes


def axis(periodic, n, sampling=None):
    chosen = sampling or ("lower" if periodic else "both")
    return torch.tensor(positions(chosen, n), dtype=torch.float64)


@pytest.mark.parametrize("n", [16, 17])
def test_a_wave_is_in_its_shell_with_half_of_its_squared_amplitude(n):
    x = axis(True, n)
    u = 3 * torch.sin(2 * torch.pi * 4 * x + 0.3) + 2
    (energies,) = grid_spectrum(u[None], GridAxes.unit((True,)))
    expected = np.zeros_like(energies)
    expected[0], expected[4] = 4, 4.5
    np.testing.assert_allclose(energies, expected, atol=1e-12)


@pytest.mark.parametrize("sampling", ["both", "centres"])
def test_a_cosine_on_an_axis_with_ends_counts_its_half_waves(sampling):
    x = axis(False, 20, sampling)
    u = 2 * torch.cos(torch.pi * 6 * x)  # three waves
    (energies,) = grid_spectrum(u[None], GridAxes((False,), (1.0,), (sampling,)))
    assert energies[3] == pytest.approx(2)
    assert energies.sum() == pytest.approx(2)


def test_waves_are_counted_along_the_longest_axis():
    x, y = torch.meshgrid(axis(True, 16), axis(True, 16), indexing="ij")
    u = torch.cos(2 * torch.pi * 3 * x) + torch.cos(2 * torch.pi * 2 * y)
    (energies,) = grid_spectrum(u[None], GridAxes((True, True), (1.0, 3.0)))
    assert energies[9] == pytest.approx(0.5)  # three waves per unit are nine per longest axis
    assert energies[2] == pytest.approx(0.5)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_shells_sum_to_the_mean_square(sampling):
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(3, 9, 12, 7, generator=generator, dtype=torch.float64)
    axes = GridAxes((True, False, False), (1.0, 2.0, 1.0), ("lower", sampling, "both"))
    energies = grid_spectrum(u, axes)
    ends = "both" if sampling == "both" else "centres"
    weights = [
        torch.tensor(line_weights(s, n, periodic=False), dtype=torch.float64)
        for s, n in ((ends, 12), ("both", 7))
    ]
    squares = torch.einsum("nxyz,y,z->n", u**2, *weights) / 9
    np.testing.assert_allclose(energies.sum(1), squares, rtol=1e-12)


@pytest.mark.parametrize("sampling", ["gauss_legendre", "equiangular", "lobatto", "centres"])
def test_a_harmonic_on_a_sphere_is_in_its_degree(sampling):
    z = torch.zeros(1, 5, 5, 1, dtype=torch.complex128)
    z[0, 3, 2, 0] = 1.5 + 0.5j
    u = inverse_sht(z, (16, 24), sampling)[..., 0]
    (energies,) = sphere_spectrum(u, sampling)
    weights = latitudes(16, sampling)[1] / 2
    mean_square = float(torch.einsum("nij,i->", u**2, weights) / 24)
    assert energies[3] == pytest.approx(mean_square)
    assert energies.sum() == pytest.approx(mean_square)
