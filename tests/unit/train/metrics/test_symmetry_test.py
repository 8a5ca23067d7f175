"""The test of data for a symmetry: no false alarms, and asymmetries that it has to find."""

import pytest
import torch

from opdsl.train.config.symmetries import ChannelSource, GridMap, Symmetry
from opdsl.train.metrics.symmetry_test import asymmetry

FIELDS = ("a", "u")
REFLECT_X = Symmetry("reflect(x)", 2, dict.fromkeys(FIELDS, GridMap(2, ((0, 1),))))
REFLECT_Y = Symmetry("reflect(y)", 2, dict.fromkeys(FIELDS, GridMap(2, ((1, 1),))))
SWAP = Symmetry("swap(x, y)", 2, dict.fromkeys(FIELDS, GridMap(2, exchanged=(0, 1))))
ROTATE = Symmetry("rotate(x, y)", 4, dict.fromkeys(FIELDS, GridMap(2, ((1, 1),), (0, 1))))
SHIFT = Symmetry("shift(x)", None, dict.fromkeys(FIELDS, GridMap(2, shifted=0)))
ALL = [REFLECT_X, REFLECT_Y, SWAP, ROTATE, SHIFT]
N = 16


def waves(n=N):
    k = torch.fft.fftfreq(n, dtype=torch.float64) * n
    k[n // 2] = 0
    return k[:, None], k[None]


def random_fields(seed, count=100):
    """Stationary and isotropic random functions on a torus, (samples, 1, n, n)."""
    white = torch.randn(
        count, 1, N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    kx, ky = waves()
    return torch.fft.ifft2(torch.fft.fft2(white) * torch.exp(-(kx**2 + ky**2) / 18)).real


def solved(f, advection=0.0, second=1.0):
    """Solve u - (u_xx + second u_yy) / 10 + advection u_x = f on a torus."""
    kx, ky = waves()
    symbol = 1 + (kx**2 + second * ky**2) / 10 + 1j * advection * kx
    return torch.fft.ifft2(torch.fft.fft2(f) / symbol).real


def gradient(f):
    kx, ky = waves()
    spectrum = torch.fft.fft2(f)
    return torch.cat([torch.fft.ifft2(1j * k * spectrum).real for k in (kx, ky)], 1)


@pytest.mark.parametrize("seed", range(20))
def test_symmetric_data_raise_no_alarm(seed):
    f = random_fields(seed)
    for symmetry in ALL:
        assert asymmetry(symmetry, {"a": f}, {"u": solved(f)}) is None


def test_a_test_of_data_is_a_function_of_the_data():
    f = random_fields(1)
    data = {"a": f}, {"u": solved(f, advection=0.5)}
    assert asymmetry(REFLECT_X, *data) == asymmetry(REFLECT_X, *data)


def test_advection_is_found_though_each_function_alone_is_symmetric():
    f = random_fields(0)
    u = solved(f, advection=0.5)
    found = asymmetry(REFLECT_X, {"a": f}, {"u": u})
    assert found.quantity == "product"
    assert found.names == (("a", 0), ("u", 0))
    assert found.probability < 1e-3
    assert found.errors > 4
    for symmetry in (SWAP, ROTATE):
        assert asymmetry(symmetry, {"a": f}, {"u": u}) is not None
    for symmetry in (REFLECT_Y, SHIFT):
        assert asymmetry(symmetry, {"a": f}, {"u": u}) is None


def test_anisotropic_diffusion_contradicts_the_exchange_of_axes_alone():
    f = random_fields(0)
    u = solved(f, second=4.0)
    for symmetry in (SWAP, ROTATE):
        assert asymmetry(symmetry, {"a": f}, {"u": u}) is not None
    for symmetry in (REFLECT_X, REFLECT_Y, SHIFT):
        assert asymmetry(symmetry, {"a": f}, {"u": u}) is None


def test_a_coefficient_that_depends_on_x_is_found():
    f = random_fields(0)
    x = torch.arange(N, dtype=torch.float64)[:, None] / N
    u = solved(f) * (1 + x)
    found = asymmetry(REFLECT_X, {"a": f}, {"u": u})
    assert found.names[-1] == ("u", 0)
    assert asymmetry(SHIFT, {"a": f}, {"u": u}) is not None
    assert asymmetry(REFLECT_Y, {"a": f}, {"u": u}) is None


def vector(symmetry, *sources):
    return Symmetry(symmetry.text, symmetry.order, symmetry.maps, {"u": sources})


X, Y = ChannelSource("u", 0), ChannelSource("u", 1)
MINUS_X, MINUS_Y = ChannelSource("u", 0, -1), ChannelSource("u", 1, -1)


@pytest.mark.parametrize("seed", range(20))
def test_a_vector_field_with_its_components_raises_no_alarm(seed):
    f = random_fields(seed)
    right = vector(REFLECT_X, MINUS_X, Y), vector(SWAP, Y, X), vector(ROTATE, MINUS_Y, X)
    for symmetry in right:
        assert asymmetry(symmetry, {"a": f}, {"u": gradient(f)}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        REFLECT_X,
        SWAP,
        ROTATE,
        vector(REFLECT_X, X, MINUS_Y),
        vector(REFLECT_X, MINUS_X, MINUS_Y),
        vector(SWAP, MINUS_Y, MINUS_X),
        vector(ROTATE, Y, MINUS_X),
    ],
)
def test_a_sign_error_of_a_component_is_found(wrong):
    f = random_fields(0)
    assert asymmetry(wrong, {"a": f}, {"u": gradient(f)}) is not None


def test_rounding_is_no_asymmetry():
    """Samples that equal their own images but for a bias of the size of rounding."""
    f = random_fields(0)
    f = f + f.flip(2).roll(1, 2)
    u = solved(f).float()
    u[:, :, 3] *= 1 + 1e-6
    assert asymmetry(REFLECT_X, {"a": f.float()}, {"u": u}) is None


def test_steps_in_time_and_vectors_without_a_domain_take_part():
    f = random_fields(0)
    series = torch.stack([solved(f), solved(solved(f), advection=0.5)], 1)
    c = torch.ones(len(f), 2, dtype=torch.float64)
    assert asymmetry(REFLECT_X, {"a": f, "c": c}, {"u": series}) is not None
    still = torch.stack([solved(f), solved(solved(f))], 1)
    assert asymmetry(REFLECT_X, {"a": f, "c": c}, {"u": still}) is None


@pytest.mark.parametrize("count", [1, 8])
def test_few_samples_prove_nothing(count):
    f = random_fields(0, count)
    assert asymmetry(REFLECT_X, {"a": f}, {"u": solved(f, advection=5.0)}) is None


def test_complex_functions_are_tested_by_both_parts():
    f = random_fields(0)
    u = torch.complex(solved(f), solved(f, advection=0.5))
    assert asymmetry(REFLECT_X, {"a": f}, {"u": u}) is not None
    assert asymmetry(REFLECT_Y, {"a": f}, {"u": u}) is None
