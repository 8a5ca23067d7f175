"""The Fourier layers against closed forms, float64, a second kernel and scipy."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.signal import resample as scipy_resample
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from opdsl.nn import KERNELS, Resample, SpectralConv, resample

F64 = torch.float64
# dims -> (a grid with odd and even sizes, modes)
CASES = {1: ((13,), (5,)), 2: ((12, 11), (4, 5)), 3: ((8, 7, 6), (2, 3, 2))}


def waves(size: tuple[int, ...], k: tuple[int, ...], phase: float = 0.3) -> Tensor:
    """cos(2 pi k.x + phase) on a periodic grid, (1, *size, 1), float64."""
    lines = [torch.arange(n, dtype=F64) / n * q for n, q in zip(size, k, strict=True)]
    angle = sum(torch.meshgrid(*lines, indexing="ij"))
    return torch.cos(2 * math.pi * angle + phase)[None, ..., None]


def band_limited(size: tuple[int, ...], cut: int, channels: int = 1) -> Tensor:
    """The same smooth function at every size: random waves with |k_i| <= cut."""
    rng = np.random.default_rng(7)
    ks = list(itertools.product(range(-cut, cut + 1), repeat=len(size)))
    chosen = [ks[i] for i in rng.choice(len(ks), min(len(ks), 12), replace=False)]
    return torch.cat(
        [
            sum(
                a * waves(size, k, p)
                for k, a, p in zip(chosen, rng.normal(size=12), range(12), strict=False)
            )
            for _ in range(channels)
        ],
        -1,
    )


def conv(dims: int, inward: int = 3, outward: int = 2, *, modes=None, bias: bool = True):
    torch.manual_seed(dims)
    return SpectralConv(inward, outward, modes or CASES[dims][1], bias=bias)


def identity(modes: tuple[int, ...]) -> SpectralConv:
    """R_k = 1 for every kept mode."""
    layer = SpectralConv(1, 1, modes, bias=False).double()
    with torch.no_grad():
        layer.weight.zero_()[..., 0] = 1.0
    return layer


# --- modes


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("k", [(0, 0), (3, 0), (-3, 2), (3, 4), (-1, 4)])
def test_a_kept_mode_passes(kernel, k):
    u = waves((12, 11), k)
    torch.testing.assert_close(identity((3, 4))(u, kernel=kernel), u, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("k", [(4, 0), (-4, 2), (0, 5), (5, 5)])
def test_a_cut_mode_vanishes(kernel, k):
    v = identity((3, 4))(waves((12, 11), k), kernel=kernel)
    torch.testing.assert_close(v, torch.zeros_like(v), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("k", [(2, 3), (-2, 3), (-3, 1)])
def test_each_mode_meets_its_own_multiplier(kernel, k):
    """R_k = r e^(i t) turns cos(k.x + p) into r cos(k.x + p + t)."""
    layer = identity((3, 4))
    with torch.no_grad():
        layer.weight.zero_()[k[0] + 3, k[1], 0, 0] = torch.tensor(
            [2 * math.cos(0.7), 2 * math.sin(0.7)], dtype=F64
        )
    v = layer(waves((12, 11), k, 0.3), kernel=kernel)
    torch.testing.assert_close(v, 2 * waves((12, 11), k, 1.0), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_derivative_is_a_multiplier(kernel):
    """R_k = 2 pi i k on the first axis differentiates sin and cos."""
    layer = identity((5,))
    with torch.no_grad():
        layer.weight.zero_()[:, 0, 0, 1] = 2 * math.pi * torch.arange(6, dtype=F64)
    slope = -2 * math.pi * 3 * waves((16,), (3,), 0.3 - math.pi / 2)
    torch.testing.assert_close(layer(waves((16,), (3,)), kernel=kernel), slope, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_mean_ignores_the_imaginary_part_of_its_weight(kernel):
    """A real function has a real mean, so an inverse transform takes the real part of k = 0."""
    layer = identity((2, 2))
    u = waves((6, 5), (0, 0))
    before = layer(u, kernel=kernel)
    with torch.no_grad():
        layer.weight[2, 0, 0, 0, 1] = 5.0
    torch.testing.assert_close(layer(u, kernel=kernel), before, rtol=0, atol=1e-13)


def test_the_bias_is_added_once_at_each_point():
    layer = conv(2)
    with torch.no_grad():
        layer.weight.zero_()
    v = layer(torch.randn(2, 9, 11, 3))
    torch.testing.assert_close(v, layer.bias.expand_as(v))


def test_the_weights_begin_with_the_variance_of_glorot():
    weight = conv(2, 32, 32, modes=(8, 8)).weight
    assert (weight.square().sum(-1).mean() - 2 / 64).abs() < 2e-4


# --- kernels


@pytest.mark.parametrize("out", ["same", "larger", "smaller"])
@pytest.mark.parametrize("dims", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (F64, 1e-12)])
def test_all_kernels_compute_the_same_forward_and_backward(dims, dtype, tolerance, out):
    grid, modes = CASES[dims]
    shift = {"same": 0, "larger": 5, "smaller": -1}[out]
    size = tuple(max(n + shift, 2 * m + 1) for n, m in zip(grid, modes, strict=True))
    layer = conv(dims).to(dtype)
    x = torch.randn(2, *grid, 3, dtype=dtype, requires_grad=True)
    g = torch.randn(2, *size, 2, dtype=dtype)
    results = []
    for kernel in KERNELS:
        v = layer(x, size, kernel)
        results.append((v, *torch.autograd.grad(v, [x, *layer.parameters()], g)))
    for a, b in zip(*results, strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_are_those_of_finite_differences(kernel, dims):
    layer = conv(dims, 2, 2, modes=(1,) * dims).double()
    grid = (5, 4, 3)[:dims]
    x = torch.randn(1, *grid, 2, dtype=F64, requires_grad=True)

    def run(x: Tensor, weight: Tensor) -> Tensor:
        size = tuple(n + 1 for n in grid)
        return functional_call(layer, {"weight": weight}, (x, size, kernel))

    assert torch.autograd.gradcheck(run, (x, layer.weight), fast_mode=True)


def test_matrices_made_while_inferring_serve_training_later():
    layer = conv(1, modes=(3,))
    x = torch.randn(1, 19, 3)
    with torch.inference_mode():
        layer(x, kernel="dft")
    layer(x, kernel="dft").sum().backward()
    assert layer.weight.grad is not None


def test_a_rehearsal_without_numbers_leaves_nothing_behind():
    """FakeTensorMode, with which memory is estimated, must not fill the cache with fakes."""
    with FakeTensorMode():
        conv(1, modes=(3,))(torch.randn(1, 23, 3), kernel="dft")
    v = conv(1, modes=(3,))(torch.ones(1, 23, 3), kernel="dft")
    assert v.isfinite().all()
    assert type(v) is Tensor


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_exported_layer_takes_every_size_from_the_least_one(kernel):
    """A tracer learns ranges from slices and gaps, and must not learn one that is too narrow."""
    layer, auto = conv(2, modes=(3, 4)).eval(), torch.export.Dim.AUTO
    shapes = {"x": {0: auto, 1: auto, 2: auto}, "kernel": None}
    x, given = torch.randn(2, 20, 21, 3), {"kernel": kernel}
    program = torch.export.export(layer, (x,), given, dynamic_shapes=shapes).module()
    for size in [(7, 9), (8, 9), (7, 10), (9, 11), (40, 31)]:
        x = torch.randn(3, *size, 3)
        torch.testing.assert_close(program(x, kernel=kernel), layer(x, kernel=kernel))


def test_an_exported_resampling_takes_odd_and_even_sizes():
    class Halve(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return resample(resample(x, (x.shape[1] // 2,)), (x.shape[1],))

    auto = torch.export.Dim.AUTO
    x = torch.randn(2, 20, 3)
    program = torch.export.export(Halve(), (x,), dynamic_shapes={"x": {0: auto, 1: auto}}).module()
    for n in (8, 9, 10, 11, 12, 21):
        x = torch.randn(3, n, 3)
        torch.testing.assert_close(program(x), Halve()(x))


# --- resolution


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    "size",
    [(n,) for n in (15, 16, 31, 32, 64, 421)] + [(15, 16), (31, 64), (421, 15), (15, 16, 17)],
)
def test_the_same_weights_are_the_same_operator_at_every_resolution(kernel, size):
    """Odd and even sizes: the reference's release 2.0.0 is wrong at every odd one."""
    layer = conv(len(size), 1, 1, modes=(5,) * len(size))
    fine = tuple(48 if len(size) < 3 else 24 for _ in size)
    coarse_v = layer(band_limited(size, 7).float(), fine, kernel)
    fine_v = layer(band_limited(fine, 7).float(), kernel=kernel)
    assert (coarse_v - fine_v).norm() < 1e-5 * fine_v.norm()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("k", [(-1, 2), (3, 1), (-3, 3)])
def test_a_change_of_size_keeps_every_frequency(kernel, k):
    """16 -> 32 -> 15 with R = 1: the reference moves negative frequencies elsewhere."""
    layer = identity((3, 3))
    up = layer(waves((16, 16), k), (32, 32), kernel)
    torch.testing.assert_close(up, waves((32, 32), k), rtol=0, atol=1e-13)
    down = layer(up, (15, 15), kernel)
    torch.testing.assert_close(down, waves((15, 15), k), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_shifting_the_input_shifts_the_result(kernel, dims):
    layer, grid = conv(dims).double(), CASES[dims][0]
    axes, steps = tuple(range(1, dims + 1)), (3, 1, 2)[:dims]
    x = torch.randn(2, *grid, 3, dtype=F64)
    torch.testing.assert_close(
        layer(x.roll(steps, axes), kernel=kernel), layer(x, kernel=kernel).roll(steps, axes)
    )


@pytest.mark.parametrize(("grid", "size"), [((11, 10), (12, 12)), ((12, 12), (12, 10))])
def test_a_grid_too_coarse_for_its_modes_is_refused(grid, size):
    layer = conv(2, modes=(3, 5))
    with pytest.raises(ValueError, match="at least 11 points, got 10"):
        layer(torch.randn(1, *grid, 3), size)


def test_another_number_of_axes_is_refused():
    with pytest.raises(ValueError, match="2 axes have modes"):
        conv(2)(torch.randn(1, 16, 3))


# --- precision


@pytest.fixture
def seen_dtypes(monkeypatch):
    """The dtypes that reach torch's transforms and batched products."""
    seen = []

    def watched(function):
        def call(x, *args, **kwargs):
            seen.append(x.dtype)
            return function(x, *args, **kwargs)

        return call

    for name in ("rfft", "irfft", "fft", "ifft"):
        monkeypatch.setattr(torch.fft, name, watched(getattr(torch.fft, name)))
    monkeypatch.setattr(torch, "bmm", watched(torch.bmm))
    return seen


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_autocast_leaves_the_spectral_section_in_float32(seen_dtypes, kernel, narrow):
    layer, x = conv(2), torch.randn(2, 12, 12, 3)
    with torch.autocast("cpu", dtype=narrow):
        v = layer(x.to(narrow), (14, 14), kernel)
        full = layer(x, (14, 14), kernel)
    assert v.dtype == narrow
    assert full.dtype == torch.float32
    assert set(seen_dtypes) <= {torch.float32, torch.complex64}
    assert seen_dtypes
    torch.testing.assert_close(full, layer(x, (14, 14), kernel), rtol=0, atol=0)


def test_resampling_runs_in_float32_under_autocast(seen_dtypes):
    x = torch.randn(1, 8, 3).bfloat16()
    resample(x, (12,))  # makes the matrix, in float64
    seen_dtypes.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = resample(x, (12,))
        long = resample(torch.randn(1, 2000, 1).bfloat16(), (1000,))
    assert y.dtype == long.dtype == torch.bfloat16
    assert set(seen_dtypes) == {torch.float32, torch.complex64}


# --- resampling


@pytest.mark.parametrize("n", [6, 7, 12, 15])
@pytest.mark.parametrize("size", [6, 7, 8, 9, 12, 21])
def test_one_axis_is_resampled_as_scipy_does(n, size):
    torch.manual_seed(n)
    x = torch.randn(2, n, 3, dtype=F64)
    wanted = torch.from_numpy(scipy_resample(x.numpy(), size, axis=1))
    torch.testing.assert_close(resample(x, (size,)), wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("size", "to"), [((9, 10), (16, 15)), ((16, 15), (9, 10)), ((9, 10, 11), (10, 9, 12))]
)
def test_resampling_is_exact_for_band_limited_functions(size, to):
    x, wanted = band_limited(size, 4, 2), band_limited(to, 4, 2)
    torch.testing.assert_close(resample(x, to), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 6), (8, 7), (9, 6)])
@pytest.mark.parametrize("to", [(9, 8), (16, 12), (10, 11)])
def test_going_up_and_down_again_gives_every_function_back(size, to):
    """Also the Nyquist frequency of an even size, which white noise has."""
    torch.manual_seed(0)
    x = torch.randn(2, *size, 3, dtype=F64)
    torch.testing.assert_close(resample(resample(x, to), size), x, rtol=0, atol=1e-12)


def test_an_axis_that_keeps_its_size_is_left_alone():
    x = torch.randn(2, 8, 6, 3, dtype=F64)
    x[:, 3] = 0.0
    assert not Resample()(x, (8, 12))[:, 3].any()
    assert resample(x, (8, 6)) is x


# --- some modes only -------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("factor", ["dense", "tucker"])
@pytest.mark.parametrize("layout", ["symmetric", "neuralop"])
def test_a_limited_layer_is_one_of_fewer_modes(layout, factor, kernel):
    """Its weights for the greater frequencies do not matter, and get no gradient."""
    ranks = {"tucker": (2, 2, 3, 2)}.get(factor, ())
    whole = SpectralConv(3, 2, (3, 3), layout=layout, factor=factor, ranks=ranks)
    few = SpectralConv(3, 2, (1, 2), layout=layout)
    dense = whole.weight if factor == "dense" else dense_of(whole)
    start = 2  # of -3 ... 3 or 2, the frequencies from -1 on
    with torch.no_grad():
        few.weight.copy_(dense[start : start + few.weight.shape[0], :3])
        few.bias.copy_(whole.bias)
    whole.limit((1, 2))
    x = torch.randn(2, 9, 8, 3)
    torch.testing.assert_close(whole(x, kernel=kernel), few(x, kernel=kernel))
    whole.limit(None)
    assert not torch.allclose(whole(x), few(x))


def dense_of(layer: SpectralConv) -> torch.Tensor:
    R = layer.weight.full(torch.float32).movedim((0, 1), (-2, -1))
    return torch.view_as_real(R.resolve_conj())


def test_modes_that_do_not_take_part_get_no_gradient():
    layer = SpectralConv(1, 1, (3,))
    layer.limit((1,))
    layer(torch.randn(1, 8, 1)).square().sum().backward()
    assert layer.weight.grad[:2].abs().sum() > 0
    assert torch.equal(layer.weight.grad[2:], torch.zeros_like(layer.weight[2:]))


def test_a_limit_names_each_axis():
    with pytest.raises(ValueError, match="2 axes"):
        SpectralConv(1, 1, (3, 3)).limit((1,))
