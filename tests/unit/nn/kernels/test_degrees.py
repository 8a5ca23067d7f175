"""The fused layer of a sphere against its formula in float64, and the two ways of a convolution."""

import pytest
import torch

from opdsl.nn.kernels import fourier_layer as fused
from opdsl.nn.kernels.degrees import SphereDegrees
from opdsl.nn.kernels.fourier_layer import Activations, LayerWeights, fourier_layer, plain_layer
from opdsl.nn.sphere.harmonics import SphericalConv, inverse_sht, inverse_sht_dft, sht, sht_dft

needs_kernels = pytest.mark.skipif(not fused.kernels_available(), reason="no C++ compiler here")

LAYERS = {  # sampling, grid, lmax, orders, real, in, out, hidden
    "Gauss-Legendre": ("gauss_legendre", (12, 25), 11, 11, False, 16, 16, 8),
    "Lobatto, real": ("lobatto", (13, 24), 11, 5, True, 5, 7, 0),
    "equiangular": ("equiangular", (23, 30), 11, 9, False, 32, 32, 16),
    "more than four vectors": ("gauss_legendre", (6, 12), 3, 3, True, 70, 70, 0),
    "rows of several tiles": ("gauss_legendre", (8, 300), 7, 7, True, 32, 32, 16),
    "only means": ("gauss_legendre", (6, 12), 4, 0, False, 3, 3, 2),
}
GRIDS = {
    "gauss_legendre": (12, 25),
    "lobatto": (13, 26),
    "equiangular": (23, 30),
    "centres": (23, 30),
}
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-12}


def numbers(*shape, fan: int = 1) -> torch.Tensor:
    return (torch.randn(*shape) * fan**-0.5).requires_grad_()


def layer(name: str):
    sampling, grid, lmax, orders, real, c, o, h = LAYERS[name]
    torch.manual_seed(0)
    R = numbers(lmax + 1, c, o, *(() if real else (2,)), fan=c)
    w = LayerWeights(R, numbers(o, c, fan=c), numbers(o))
    if h:
        more = (numbers(h, o, fan=o), numbers(h), numbers(o, h, fan=h), numbers(o), numbers(o))
        w = LayerWeights(w.R, w.W, w.b, *more)
    return numbers(3, *grid, c), w, SphereDegrees(lmax, orders, sampling), Activations("gelu")


def doubled(x):
    return None if x is None else x.detach().double().requires_grad_()


def gradients(y, inputs, g):
    return torch.autograd.grad(y, [x for x in inputs if x is not None], g.to(y))


def off(x: torch.Tensor, y: torch.Tensor) -> float:
    return ((x.double() - y.double()).norm() / y.double().norm()).item()


def through(name: str, g: torch.Tensor):
    u, w, between, activations = layer(name)
    y = fourier_layer(u, w, between, activations)
    return (y, *gradients(y, (u, *w.all()), g))


@needs_kernels
@pytest.mark.parametrize("name", LAYERS)
def test_a_fused_layer_is_its_formula_in_float64_forward_and_backward(name):
    u, w, between, activations = layer(name)
    v, m = doubled(u), LayerWeights(*map(doubled, w.all()))
    z = plain_layer(v, m, between, activations)
    g = torch.rand(z.shape)  # of one sign: the gradients of constants are sums, which would cancel
    exact = (z, *gradients(z, (v, *m.all()), g))
    assert max(off(a, b) for a, b in zip(through(name, g), exact, strict=True)) <= 1e-6


@needs_kernels
def test_the_derivative_of_a_derivative_is_that_of_the_formula():
    u, w, between, activations = layer("Gauss-Legendre")

    def penalty(layer_of, x, weights):
        y = layer_of(x, weights, between, activations)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), (x, weights.W, weights.R))

    v, m = doubled(u), LayerWeights(*map(doubled, w.all()))
    pairs = zip(penalty(fourier_layer, u, w), penalty(plain_layer, v, m), strict=True)
    assert max(off(a, b) for a, b in pairs) <= 5e-6


@needs_kernels
def test_two_threads_compute_what_one_does_bit_for_bit_the_same_twice():
    g, found, before = torch.rand(3, 23, 30, 32), [], torch.get_num_threads()
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(through("equiangular", g))
    finally:
        torch.set_num_threads(before)
    one, two, again = found
    assert max(off(a, b) for a, b in zip(one, two, strict=True)) <= 1e-6
    assert all(torch.equal(a, b) for a, b in zip(two, again, strict=True))


@needs_kernels
def test_only_spectra_and_the_input_are_kept():
    u, w, between, activations = layer("equiangular")
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        fourier_layer(u, w, between, activations)
    weights = sum(x.numel() for x in w.all() if x is not None)
    # 12 degrees of 10 orders on the way in, 23 latitudes of them on the way out
    spectra = 3 * 2 * (12 + 23) * 10 * 32
    assert sum(x.numel() for x in kept) <= weights + u.numel() + spectra


@pytest.mark.parametrize("orders", [11, 5, 0])
@pytest.mark.parametrize("sampling", GRIDS)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"real": False},
        {"by": "mode", "real": False},
        {"by": "all"},
        {"separable": True},
        {"real": False, "factor": "cp", "ranks": (4,)},
    ],
    ids=lambda x: ", ".join(map(str, x.values())) or "plain",
)
def test_both_kernels_convolve_alike_forward_and_backward(dtype, sampling, orders, how):
    torch.manual_seed(0)
    conv = SphericalConv(3, 3, 11, sampling=sampling, orders=orders, **how).to(dtype)
    x = torch.randn(2, *GRIDS[sampling], 3, dtype=dtype, requires_grad=True)
    for size in (GRIDS[sampling], (31, 40)):
        ways = [conv(x, size, kernel) for kernel in ("fft", "dft")]
        g = torch.randn_like(ways[0])
        a, b = ((y, *gradients(y, (x, *conv.parameters()), g)) for y in ways)
        assert max(off(p, q) for p, q in zip(a, b, strict=True)) <= ROUNDING[dtype]


@pytest.mark.parametrize("sampling", GRIDS)
def test_the_spectra_of_both_kernels_are_the_same(sampling):
    torch.manual_seed(0)
    x = torch.randn(2, *GRIDS[sampling], 3, dtype=torch.float64)
    z = sht(x, 11, sampling, 7)
    torch.testing.assert_close(sht_dft(x, 11, sampling, 7), z, atol=1e-13, rtol=0)
    there, size = inverse_sht(z, (16, 20), sampling), (16, 20)
    torch.testing.assert_close(inverse_sht_dft(z, size, sampling), there, atol=1e-12, rtol=0)


def test_the_gradient_of_matrix_products_is_that_of_differences():
    torch.manual_seed(0)
    conv = SphericalConv(2, 2, 3, sampling="lobatto", real=False).double()
    x = torch.randn(1, 5, 8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: conv(v, (6, 9), "dft"), (x,))
