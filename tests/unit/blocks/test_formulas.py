"""Each block computes its formula: closed forms, scipy, an explicit Fourier sum."""

import itertools

import numpy as np
import pytest
import torch
from scipy.signal import resample as scipy_resample
from torch.utils.flop_counter import FlopCounterMode

from opdsl import blocks
from opdsl.ir.axes import Axis
from opdsl.ir.spaces import Domain, Space
from opdsl.ir.steps import Extend

F64 = torch.float64


def plane(x: str = "periodic", y: str = "none") -> Domain:
    return Domain(name="D", axes=(Axis(name="x", boundary=x), Axis(name="y", boundary=y, hi=3.0)))


def make(keyword: str, **fields):
    return blocks.find(keyword)(**fields)


def lowered(keyword: str, *channels: int, on: Domain | None = None, **fields):
    torch.manual_seed(0)
    spaces = [Space(domain=on or plane(), channels=c) for c in channels]
    return make(keyword, **fields).lower(*spaces).double()


def sample(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


U, V = sample(2, 6, 5, 3), sample(2, 6, 5, 3, seed=2)


@pytest.mark.parametrize(("keyword", "wanted"), [("add", U + V), ("sub", U - V), ("mul", U * V)])
def test_two_functions_are_joined_point_by_point(keyword, wanted):
    assert torch.equal(lowered(keyword, 3, 3)(U, V), wanted)


def test_scale_multiplies_by_its_factor():
    assert torch.equal(lowered("scale", 3, factor=-0.5)(U), -0.5 * U)


def test_concat_puts_channels_side_by_side():
    w = lowered("concat", 3, 3)(U, V)
    assert torch.equal(w[..., :3], U)
    assert torch.equal(w[..., 3:], V)


def test_linear_multiplies_by_one_matrix_everywhere():
    layer = lowered("linear", 3, out=4)
    wanted = torch.einsum("bxyi,oi->bxyo", U, layer.weight) + layer.bias
    torch.testing.assert_close(layer(U), wanted)


def test_linear_without_bias_maps_zero_to_zero():
    assert not lowered("linear", 3, out=4, bias=False)(0 * U).any()


def test_apply_takes_the_function_of_its_kind():
    assert torch.equal(lowered("apply", 3, kind="tanh")(U), torch.tanh(U))


def test_dropout_is_the_identity_in_evaluation():
    assert torch.equal(lowered("dropout", 3, p=0.5).eval()(U), U)


def test_dropout_keeps_the_mean_in_training():
    w = lowered("dropout", 1, p=0.25)(torch.ones(1, 200, 200, 1, dtype=F64))
    assert sorted(set(w.flatten().tolist())) == pytest.approx([0.0, 4 / 3])
    assert w.mean().item() == pytest.approx(1.0, abs=0.02)


def test_norm_leaves_mean_zero_and_variance_one_over_the_grid():
    w = lowered("norm", 3)(5 + 2 * U)
    assert w.mean((1, 2)).abs().max() < 1e-12
    torch.testing.assert_close(
        w.var((1, 2), correction=0), torch.ones(2, 3, dtype=F64), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("kind", ["identity", "soft"])
def test_a_skip_begins_as_the_identity(kind):
    assert torch.equal(lowered("skip", 3, kind=kind)(U), U)


def test_a_linear_skip_is_a_matrix():
    layer = lowered("skip", 3, kind="linear", out=4)
    torch.testing.assert_close(layer(U), U @ layer.weight.T)


def test_coordinates_are_the_points_of_the_grid():
    layer = make("coords", domain=plane()).lower()
    w = layer(size=(4, 4), like=U)[0]
    assert w[:, 0, 0].tolist() == [0.0, 0.25, 0.5, 0.75]  # periodic: 1 is 0 again
    assert w[0, :, 1].tolist() == [0.0, 1.0, 2.0, 3.0]  # both ends


def test_resample_is_scipys_on_each_axis():
    D = plane()
    w = lowered("resample", 3, on=D, to=D.coarsened(2))(U, size=(3, 2))
    wanted = scipy_resample(scipy_resample(U.numpy(), 3, axis=1), 2, axis=2)
    torch.testing.assert_close(w, torch.from_numpy(wanted), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("sides", "first"), [("end", (0, 0)), ("both", (2, 1))])
def test_pad_adds_zeros_and_crop_takes_them_away(sides, first):
    D = plane()
    E = D.extended(Extend(name="E", numerator=2, denominator=3, sides=sides))
    size = E.points((6, 5))
    assert size == (10, 7)  # 6 points of a ring, 4 spacings of an interval
    w = lowered("pad", 3, on=D, to=E)(U, size=size)
    x, y = first
    assert torch.equal(w[:, x : x + 6, y : y + 5], U)
    assert torch.count_nonzero(w) == torch.count_nonzero(U)
    assert torch.equal(lowered("crop", 3, on=E, to=D)(w, size=(6, 5)), U)


@pytest.mark.parametrize("kernel", ["fft", "dft"])
@pytest.mark.parametrize("size", [(6, 5), (9, 8)])
def test_spectral_conv_is_the_sum_over_its_modes(kernel, size):
    """v(y) = Re sum over |k| <= m of R_k u_hat(k) e^(2 pi i k.y) + b, k and -k conjugate."""
    m = (2, 1)
    layer = lowered("spectral_conv", 3, modes=m, out=4)
    R = torch.view_as_complex(layer.weight.detach()).numpy()
    points = [
        np.stack(np.meshgrid(*map(np.arange, s), indexing="ij"), -1) / s for s in ((6, 5), size)
    ]
    wanted = np.broadcast_to(layer.bias.detach().numpy(), (2, *size, 4)).copy()
    for k in itertools.product(range(-m[0], m[0] + 1), range(m[1] + 1)):
        there = np.exp(-2j * np.pi * points[0] @ k)
        back = np.exp(2j * np.pi * points[1] @ k)
        u_hat = np.einsum("bxyi,xy->bi", U.numpy(), there) / 30
        v_hat = np.einsum("bi,io->bo", u_hat, R[k[0] + m[0], k[1]])
        twice = 2 if k[1] else 1  # a mode of the half axis stands for its conjugate too
        wanted += twice * np.einsum("bo,xy->bxyo", v_hat, back).real
    v = layer(U, size=size, kernel=kernel)
    torch.testing.assert_close(v, torch.from_numpy(wanted), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_work_of_the_matrix_kernel_is_what_torch_counts(dims):
    D = Domain(name="D", axes=tuple(Axis(name=x) for x in "xyz"[:dims]))
    there, here, m = (12, 10, 9)[:dims], (8, 16, 11)[:dims], (3, 2, 4)[:dims]
    block, space = make("spectral_conv", modes=m, out=4), Space(domain=D, channels=3)
    module = block.lower(space)
    with FlopCounterMode(display=False) as counter:
        module(torch.randn(1, *there, 3), size=here, kernel="dft")
    # torch counts 2 for a complex multiplication and addition, and it is 8
    mixing = 6 * module.weight.numel() // 2
    work = block.work("dft", (there, here), space)
    assert work.gemm == counter.get_total_flops() + mixing


def test_the_words_for_activations_are_those_of_the_numerics():
    from typing import get_args

    from opdsl.blocks.pointwise.apply import ActivationName
    from opdsl.nn import ACTIVATIONS

    assert list(get_args(ActivationName)) == sorted(ACTIVATIONS)
