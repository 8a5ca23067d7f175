"""Factorised weights against tensorly-torch, einsum written out, and the dense layer."""

import math
import warnings

import pytest
import torch
from torch import Tensor

from opdsl.ir.ranks import Axes, count_numbers, find_ranks, rank_products, whole_products
from opdsl.nn import KERNELS, SpectralConv
from opdsl.nn.spectral.factors import FACTORS, numbers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the oracle's own imports warn
    from tltorch.factorized_tensors.complex_factorized_tensors import (
        ComplexCPTensor,
        ComplexTTTensor,
        ComplexTuckerTensor,
    )

F64 = torch.float64
# with one axis and with three, even sizes and odd ones, more channels in than out
SHAPES = [(4, 3, 6), (5, 4, 3, 7), (3, 2, 5, 3, 4)]
SEPARABLE = [(5, 7), (4, 3, 6)]
NAMES = ("in", "out", "x", "y", "z")
RANKS = {
    "cp": lambda _: (5,),
    "tucker": lambda shape: tuple(max(1, n - 1) for n in shape),
    "tt": lambda shape: tuple(range(2, len(shape) + 1)),
}
each_factor = pytest.mark.parametrize("factor", FACTORS)


def made(factor: str, shape: tuple[int, ...], seed: int = 0):
    torch.manual_seed(seed)
    weight = FACTORS[factor](shape, RANKS[factor](shape))
    weight.reset_parameters(1.0)
    return weight.double()


def theirs(factor: str, weight) -> Tensor:
    """The whole tensor by the library, from the same factors."""
    ours = [numbers(x.detach(), F64, real=False) for x in weight.factors]
    if factor == "tt":
        return ComplexTTTensor(ours).to_tensor()
    if factor == "tucker":
        return ComplexTuckerTensor(numbers(weight.core.detach(), F64, real=False), ours).to_tensor()
    return ComplexCPTensor(torch.ones(5, dtype=ours[0].dtype), ours).to_tensor()


@each_factor
@pytest.mark.parametrize("shape", SHAPES + SEPARABLE)
def test_the_whole_tensor_is_that_of_tensorly(factor, shape):
    weight = made(factor, shape)
    torch.testing.assert_close(weight.full(F64), theirs(factor, weight), rtol=0, atol=1e-12)


@each_factor
@pytest.mark.parametrize("shape", SHAPES)
def test_applying_the_factors_is_applying_the_tensor(factor, shape):
    weight = made(factor, shape)
    modes = math.prod(shape[2:])
    u = torch.randn(3, modes, shape[0], dtype=torch.complex128)
    R = weight.full(F64).flatten(2)
    wanted = torch.einsum("bki,iok->bko", u, R)
    torch.testing.assert_close(weight.mix(u, F64), wanted, rtol=0, atol=1e-11)


@each_factor
@pytest.mark.parametrize("shape", SHAPES + SEPARABLE)
def test_the_numbers_of_the_factors_are_counted(factor, shape):
    weight = made(factor, shape)
    counted = count_numbers(factor, shape, RANKS[factor](shape))
    assert 2 * counted == sum(x.numel() for x in weight.parameters())


# --- how the weights begin


@each_factor
@pytest.mark.parametrize("shape", [(16, 16, 9, 5), (24, 24, 9), (8, 8, 5, 5, 3), (32, 33, 17)])
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_a_factorised_weight_begins_with_the_spread_of_a_dense_one(factor, shape, fraction):
    """Over many draws; the library's tt begins 60 times too small."""
    ranks = find_ranks(factor, Axes(NAMES, shape), fraction)
    torch.manual_seed(1)
    weight = FACTORS[factor](shape, ranks)
    found = []
    for _ in range(60):
        weight.reset_parameters(0.25)
        with torch.no_grad():
            found.append(weight.full(torch.float32).abs().square().mean())
    assert torch.stack(found).mean().item() == pytest.approx(0.25, rel=0.2)


@each_factor
def test_a_layer_gives_its_factors_the_variance_of_glorot(factor):
    ranks = find_ranks(factor, Axes(NAMES, (16, 16, 17, 9)), 0.3)
    found = []
    for seed in range(20):
        torch.manual_seed(seed)
        layer = SpectralConv(16, 16, (8, 8), factor=factor, ranks=ranks)
        with torch.no_grad():
            found.append(layer.weight.full(torch.float32).abs().square().mean())
    assert torch.stack(found).mean().item() == pytest.approx(2 / 32, rel=0.2)


# --- layers


def factored(factor: str, *, in_ranks: bool = False, separable: bool = False, dims: int = 2):
    modes, channels = (2, 3, 1)[:dims], (3, 3 if separable else 2)
    matrix = (3,) if separable else channels
    counts = (*(2 * m + 1 for m in modes[:-1]), modes[-1] + 1)
    torch.manual_seed(dims)
    ranks = RANKS[factor]((*matrix, *counts))
    layer = SpectralConv(
        *channels, modes, factor=factor, ranks=ranks, in_ranks=in_ranks, separable=separable
    )
    return layer.double()


def dense(layer: SpectralConv) -> SpectralConv:
    """A dense layer with the same matrices."""
    same = SpectralConv(*layer.channels, layer.modes, separable=layer.separable).double()
    trailing = 1 if layer.separable else 2
    with torch.no_grad():
        R = layer.weight.full(F64)
        R = R.movedim(tuple(range(trailing)), tuple(range(-trailing, 0)))
        same.weight.copy_(torch.view_as_real(R))
        same.bias.copy_(layer.bias)
    return same


@each_factor
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("way", ["whole", "ranks", "separable"])
def test_a_factorised_layer_is_the_dense_layer_of_its_product(factor, dims, kernel, way):
    layer = factored(factor, in_ranks=way == "ranks", separable=way == "separable", dims=dims)
    x = torch.randn(2, *(7, 8, 5)[:dims], 3, dtype=F64)
    wanted = dense(layer)(x)
    torch.testing.assert_close(layer(x, kernel=kernel), wanted, rtol=0, atol=1e-11)


def test_a_separable_layer_is_a_dense_one_with_diagonal_matrices():
    torch.manual_seed(0)
    layer, full = (SpectralConv(3, 3, (2, 3), separable=x).double() for x in (True, False))
    with torch.no_grad():
        full.weight.copy_(torch.diag_embed(layer.weight.movedim(-1, 0)).movedim(0, -1))
        full.bias.copy_(layer.bias)
    x = torch.randn(2, 9, 8, 3, dtype=F64)
    torch.testing.assert_close(layer(x), full(x), rtol=0, atol=1e-13)


def test_a_separable_layer_keeps_its_channels():
    with pytest.raises(ValueError, match="3 channels cannot become 4"):
        SpectralConv(3, 4, (2,), separable=True)


@each_factor
def test_both_ways_have_the_same_gradients(factor):
    x = torch.randn(2, 9, 8, 3, dtype=F64, requires_grad=True)
    found = []
    for in_ranks in (False, True):
        layer = factored(factor, in_ranks=in_ranks)
        found.append(torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@each_factor
@pytest.mark.parametrize("in_ranks", [False, True])
def test_autocast_leaves_the_factors_in_float32(factor, in_ranks):
    layer = factored(factor, in_ranks=in_ranks).float()
    x = torch.randn(2, 9, 8, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), layer(x.clone()))
        v = layer(x)
    torch.testing.assert_close(v, layer(x), rtol=0, atol=0)


# --- what is counted


class Counted(torch.utils._python_dispatch.TorchDispatchMode):
    """Complex products of the matrix products that are run."""

    def __init__(self):
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm"):
            a, b = args[0], args[1]
            self.products += math.prod(a.shape) * b.shape[-1]
        return func(*args, **(kwargs or {}))


def products(run) -> int:
    with torch.no_grad(), Counted() as seen:
        run()
    return seen.products


@pytest.mark.parametrize("factor", ["tucker", "tt"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_products_that_are_counted_are_those_that_are_run(factor, shape):
    weight, ranks = made(factor, shape), RANKS[factor](shape)
    once, each = rank_products(factor, shape, ranks)
    assert products(lambda: weight.full(F64)) == whole_products(factor, shape, ranks)
    for batch in (1, 3):
        u = torch.randn(batch, math.prod(shape[2:]), shape[0], dtype=torch.complex128)
        assert products(lambda u=u: weight.mix(u, F64)) == once + batch * each


@pytest.mark.parametrize("shape", SHAPES)
def test_cp_is_counted_up_to_products_number_by_number(shape):
    weight, (rank,) = made("cp", shape), RANKS["cp"](shape)
    modes = math.prod(shape[2:])
    once, each = rank_products("cp", shape, (rank,))
    u = torch.randn(1, modes, shape[0], dtype=torch.complex128)
    assert products(lambda: weight.full(F64)) == whole_products("cp", shape, (rank,))
    assert products(lambda: weight.mix(u, F64)) == each - modes * rank
    assert once == modes * rank
