"""Truncated Fourier transforms and convolutions in every layout, against written-out sums."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from opdsl.nn import KERNELS, SpectralConv, SpectralLinear, resample
from opdsl.nn.spectral.transforms import (
    INVERSE_TRANSFORMS,
    TRUNCATED_TRANSFORMS,
    InverseTruncatedFFT,
    TruncatedFFT,
)
from opdsl.spectrum import LAYOUTS, frequencies, points_needed

F64, C128 = torch.float64, torch.complex128
CASES = {1: ((13,), (5,)), 2: ((12, 11), (4, 3)), 3: ((7, 8, 6), (2, 3, 2))}
TIGHT = {1: ((6,), (3,)), 2: ((4, 6), (2, 3)), 3: ((2, 4, 4), (1, 2, 2))}  # 2 m points: Nyquist
each_layout = pytest.mark.parametrize("layout", LAYOUTS)
each_kernel = pytest.mark.parametrize("kernel", KERNELS)
each_field = pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])


def sample(*shape: int, real: bool = True, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=F64 if real else C128, generator=generator)


def grids(layout: str, dims: int):
    """(grid, modes): an odd and even grid, and where the layout allows it one of 2 m points."""
    return [CASES[dims]] if layout == "symmetric" else [CASES[dims], TIGHT[dims]]


ALL = [(x, dims, *case) for x in LAYOUTS for dims in (1, 2, 3) for case in grids(x, dims)]
each_case = pytest.mark.parametrize(("layout", "dims", "grid", "modes"), ALL)


def characters(bands, grid) -> Tensor:
    """exp(2 pi i k x) for each kept k in order, (modes, points)."""
    ks = torch.tensor(list(itertools.product(*bands)), dtype=F64)
    points = [torch.arange(n, dtype=F64) / n for n in grid]
    xs = torch.stack([x.flatten() for x in torch.meshgrid(*points, indexing="ij")])
    return torch.exp(2j * math.pi * (ks @ xs))


def shares(bands, grid, *, real: bool) -> tuple[Tensor, Tensor]:
    """How much of a kept mode's coefficient is its own, and for how many modes it stands."""
    last = torch.tensor([k[-1] for k in itertools.product(*bands)])
    nyquist = real & (2 * last == grid[-1]) & (last > 0)
    return 1.0 - 0.5 * nyquist.to(F64), 1.0 + (real & (last > 0)).to(F64)


def coefficients(x: Tensor, bands) -> Tensor:
    """(batch, modes, c) by sums over all points."""
    e = characters(bands, x.shape[1:-1])
    own, _ = shares(bands, x.shape[1:-1], real=not x.is_complex())
    z = torch.einsum("kp,bpc->bkc", e.conj(), x.flatten(1, -2).to(C128)) / e.shape[1]
    return own[:, None] * z


def function(z: Tensor, bands, size, *, real: bool) -> Tensor:
    """(batch, *size, c) by sums over all modes."""
    _, times = shares(bands, size, real=real)
    x = torch.einsum("kp,bkc->bpc", characters(bands, size) * times[:, None], z)
    return (x.real if real else x).reshape(z.shape[0], *size, -1)


# --- index sets


def test_each_layout_keeps_its_frequencies():
    """|k| <= m; n_modes = 2 m of neuralop with n_modes // 2 + 1 last; modes1 of the paper."""
    assert frequencies((2, 3)) == (range(-2, 3), range(4))
    assert frequencies((2, 3), "neuralop") == (range(-2, 2), range(4))
    assert frequencies((2, 3), "paper") == (range(-2, 2), range(3))
    assert frequencies((2, 3), real=False) == (range(-2, 3), range(-3, 4))
    assert frequencies((2, 3), "neuralop", real=False) == (range(-2, 2), range(-3, 3))
    assert frequencies((2, 3), "paper", real=False) == (range(-2, 2), range(-3, 3))


def test_an_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="one of symmetric, neuralop, paper, not 'papre'"):
        SpectralConv(1, 1, (2,), layout="papre")


def test_each_layout_says_how_many_points_it_needs():
    points = {x: [points_needed(b, x) for b in frequencies((2, 3), x)] for x in LAYOUTS}
    assert points == {"symmetric": [5, 7], "neuralop": [4, 6], "paper": [4, 4]}


@each_field
@each_case
def test_the_least_number_of_points_is_enough_and_one_less_is_not(layout, dims, grid, modes, real):  # noqa: ARG001
    bands = frequencies(modes, layout, real=real)
    least = tuple(points_needed(b, layout) for b in bands)
    layer = SpectralConv(1, 1, modes, layout=layout, real=real).double()
    assert layer(sample(1, *least, 1, real=real)).isfinite().all()
    if least[0] > 1:
        with pytest.raises(ValueError, match=f"at least {least[0]} points, got {least[0] - 1}"):
            layer(sample(1, least[0] - 1, *least[1:], 1, real=real))


# --- transforms


@each_field
@each_kernel
@each_case
def test_coefficients_are_fourier_sums(layout, dims, grid, modes, kernel, real):  # noqa: ARG001
    bands, x = frequencies(modes, layout, real=real), sample(2, *grid, 3, real=real)
    z = TRUNCATED_TRANSFORMS[kernel](x, bands)
    assert z.shape == (2, *map(len, bands), 3)
    torch.testing.assert_close(z.flatten(1, -2), coefficients(x, bands), rtol=0, atol=1e-13)


@each_field
@each_kernel
@each_case
def test_functions_are_sums_of_waves(layout, dims, grid, modes, kernel, real):  # noqa: ARG001
    bands = frequencies(modes, layout, real=real)
    z = sample(2, math.prod(map(len, bands)), 3, real=False)
    x = INVERSE_TRANSFORMS[kernel](z.reshape(2, *map(len, bands), 3), bands, grid, real=real)
    assert x.is_complex() is not real
    torch.testing.assert_close(x, function(z, bands, grid, real=real), rtol=0, atol=1e-12)


@each_field
@each_kernel
def test_coefficients_do_not_depend_on_the_resolution(kernel, real):
    cut, grow = TruncatedFFT((2, 3)), InverseTruncatedFFT((2, 3), real=real)
    z = cut(sample(2, 9, 8, 3, real=real), kernel=kernel)
    for size in [(5, 7), (16, 7), (31, 32)]:
        torch.testing.assert_close(cut(grow(z, size, kernel), kernel), z, rtol=0, atol=1e-13)


@each_field
def test_the_energy_of_a_function_is_that_of_its_coefficients(real):
    """Parseval: the mean of |u|^2 is the sum of |c_k|^2 over all k."""
    x = sample(1, 7, 5, 1, real=real)
    z = TruncatedFFT((3, 2))(x)
    _, times = shares(frequencies((3, 2), real=real), (7, 5), real=real)
    energy = (z.flatten().abs() ** 2 * times).sum()
    torch.testing.assert_close(energy, (x.abs() ** 2).mean(), rtol=0, atol=1e-13)


# --- convolutions


def conv(modes, layout: str, *, real: bool, seed: int = 0) -> SpectralConv:
    torch.manual_seed(seed)
    return SpectralConv(3, 2, modes, layout=layout, real=real).double()


@each_field
@each_kernel
@each_case
def test_a_convolution_multiplies_each_coefficient(layout, dims, grid, modes, kernel, real):  # noqa: ARG001
    layer, x = conv(modes, layout, real=real), sample(2, *grid, 3, real=real)
    bands = frequencies(modes, layout, real=real)
    R = torch.view_as_complex(layer.weight).flatten(0, -3)
    z = torch.einsum("bki,kio->bko", coefficients(x, bands), R)
    b = layer.bias if real else torch.view_as_complex(layer.bias)
    size = tuple(n + i for i, n in enumerate(grid))
    wanted = function(z, bands, size, real=real) + b
    torch.testing.assert_close(layer(x, size, kernel), wanted, rtol=0, atol=1e-12)


@each_kernel
@each_layout
def test_complex_functions_have_the_gradients_of_finite_differences(layout, kernel):
    layer, x = conv((1, 1), layout, real=False), sample(1, 4, 3, 3, real=False).requires_grad_()

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        given = {"weight": weight, "bias": bias}
        return functional_call(layer, given, (x, (3, 4), kernel))

    assert torch.autograd.gradcheck(run, (x, layer.weight, layer.bias), fast_mode=True)


@each_kernel
def test_a_complex_layer_on_real_numbers_is_the_real_layer_if_its_weights_are_conjugate(kernel):
    """R_-k = conj R_k is what a real layer stands for."""
    whole, half = conv((2, 3), "symmetric", real=False), conv((2, 3), "symmetric", real=True)
    with torch.no_grad():
        R = torch.view_as_complex(half.weight)  # (5, 4, in, out), k2 = 0 ... 3
        mean = R[:, :1]
        mean = (mean + mean.flip(0).conj()) / 2  # k2 = 0 has both signs of k1
        mirrored = torch.cat((R[:, 1:].flip(0, 1).conj(), mean, R[:, 1:]), 1)
        whole.weight.copy_(torch.view_as_real(mirrored))
        half.weight[:, :1].copy_(torch.view_as_real(mean))
        whole.bias.zero_()
        half.bias.zero_()
    x = sample(2, 9, 8, 3)
    v = whole(x.to(C128), kernel=kernel)
    torch.testing.assert_close(v.real, half(x, kernel=kernel), rtol=0, atol=1e-13)
    assert v.imag.abs().max() < 1e-13


@each_kernel
@each_layout
@each_field
def test_the_same_weights_are_one_operator_above_the_nyquist_grid(layout, kernel, real):
    layer = conv((3, 4), layout, real=real)
    z = sample(1, 7, 5 if real else 9, 3, real=False)
    u = InverseTruncatedFFT((3, 4), real=real)
    fine = layer(u(z, (24, 21)), kernel=kernel)
    for size in [(7, 9), (8, 10), (15, 16)]:
        torch.testing.assert_close(layer(u(z, size), (24, 21), kernel), fine, rtol=0, atol=1e-12)


@each_kernel
def test_real_functions_keep_the_last_axis_whole_at_the_nyquist_grid(kernel):
    """A cosine of frequency m passes at 2 m points, at more, and on the way between both."""
    layer = SpectralConv(1, 1, (3,), layout="neuralop", bias=False).double()
    with torch.no_grad():
        layer.weight.zero_()[..., 0] = 1.0
    wave = {
        n: torch.cos(6 * math.pi * torch.arange(n, dtype=F64) / n)[None, :, None]
        for n in (6, 7, 12)
    }
    for n, m in itertools.product(wave, wave):
        torch.testing.assert_close(layer(wave[n], (m,), kernel), wave[m], rtol=0, atol=1e-13)


# --- spectra


@each_field
@each_kernel
@pytest.mark.parametrize("grid", [(7, 9), (12, 10)])
def test_matrices_between_transforms_are_a_convolution(grid, kernel, real):
    layer = conv((3, 4), "symmetric", real=real)
    matrices = SpectralLinear(3, 2, (7, 5 if real else 9)).double()
    with torch.no_grad():
        matrices.weight.copy_(layer.weight)
        layer.bias.zero_()
    x = sample(2, *grid, 3, real=real)
    v = InverseTruncatedFFT((3, 4), real=real)(
        matrices(TruncatedFFT((3, 4))(x, kernel)), grid, kernel
    )
    torch.testing.assert_close(v, layer(x, kernel=kernel), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
def test_transforms_run_in_float32_under_autocast(kernel):
    x = sample(2, 9, 8, 3).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = TruncatedFFT((2, 3))(x.bfloat16(), kernel)
        y = InverseTruncatedFFT((2, 3))(TruncatedFFT((2, 3))(x, kernel), (9, 8), kernel)
    assert (z.dtype, y.dtype) == (torch.complex64, torch.float32)
    torch.testing.assert_close(
        y, InverseTruncatedFFT((2, 3))(TruncatedFFT((2, 3))(x, kernel), (9, 8), kernel)
    )


def test_a_convolution_of_complex_functions_exports_with_free_sizes():
    layer = conv((2, 2), "symmetric", real=False).eval()
    auto = torch.export.Dim.AUTO
    shapes = {"x": {0: auto, 1: auto, 2: auto}}
    x = sample(2, 16, 12, 3, real=False)
    program = torch.export.export(layer, (x,), dynamic_shapes=shapes)
    y = sample(3, 9, 21, 3, real=False)
    torch.testing.assert_close(program.module()(y), layer(y))


# --- resampling of complex functions


@pytest.mark.parametrize("n", [6, 7, 12, 15])
@pytest.mark.parametrize("size", [6, 7, 8, 9, 12, 21])
def test_the_parts_of_a_complex_function_are_resampled_as_real_ones(n, size):
    x = sample(2, n, 3, real=False)
    wanted = torch.complex(resample(x.real, (size,)), resample(x.imag, (size,)))
    torch.testing.assert_close(resample(x, (size,)), wanted, rtol=0, atol=1e-13)


# --- the layout of the paper


@each_kernel
@pytest.mark.parametrize("grid", [(8, 8), (13, 12), (6, 4)])
def test_the_layout_of_the_paper_has_its_two_blocks_in_one_tensor(grid, kernel):
    """Block 1 acts on k_1 = 0 ... m - 1, block 2 on k_1 = -m ... -1, both on k_2 = 0 ... m - 1."""
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 3, 2, 2, dtype=C128)  # (k_1, k_2, in, out), m = 3
    layer = SpectralConv(2, 2, (3, 3), layout="paper", bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.view_as_real(torch.cat((second, first))))
    x = sample(2, *grid, 2)
    z, y = torch.fft.rfft2(x, dim=(1, 2)), torch.zeros(2, grid[0], grid[1] // 2 + 1, 2, dtype=C128)
    for rows, block in ((slice(0, 3), first), (slice(-3, None), second)):
        y[:, rows, :3] = torch.einsum("bxyi,xyio->bxyo", z[:, rows, :3], block)
    wanted = torch.fft.irfft2(y, s=grid, dim=(1, 2))
    torch.testing.assert_close(layer(x, kernel=kernel), wanted, rtol=0, atol=1e-13)
