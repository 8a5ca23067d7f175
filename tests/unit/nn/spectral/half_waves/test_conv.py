"""`BasisConv` against sums over functions written by formula, in float64."""

import math

import pytest
import torch
from torch import Tensor

from opdsl.bases import terms
from opdsl.nn.spectral.half_waves.conv import BasisConv
from opdsl.sampling import positions

F64 = torch.float64
WALLS, HALF, FREE = ("dirichlet",) * 2, ("dirichlet", "neumann"), ("neumann",) * 2
# the conditions of each axis (None: periodic), samplings, points, modes
AXES = {
    "one axis": ((WALLS,), ("both",), (11,), (4,)),
    "cell centres": ((HALF,), ("centres",), (10,), (4,)),
    "two axes": ((WALLS, HALF), ("both", "both"), (9, 10), (4, 3)),
    "a circle and walls": ((None, WALLS), ("lower", "both"), (8, 9), (2, 4)),
    "walls and a circle": ((FREE, None), ("both", "lower"), (9, 8), (4, 2)),
    "two circles around walls": (
        (None, WALLS, None), ("lower", "both", "centres"), (7, 8, 6), (2, 3, 2)
    ),
}  # fmt: skip


def functions(family: str, m: int, t: Tensor) -> Tensor:
    """The functions of a family at the points, (count, points), complex."""
    k = torch.arange(m, dtype=F64)[:, None]
    waves = {
        "sine": lambda: torch.sin(math.pi * (k + 1) * t),
        "cosine": lambda: torch.cos(math.pi * k * t),
        "quarter_sine": lambda: torch.sin(math.pi * (k + 0.5) * t),
        "quarter_cosine": lambda: torch.cos(math.pi * (k + 0.5) * t),
    }
    if family != "fourier":
        return waves[family]().to(torch.complex128)
    full = torch.arange(-m, m + 1, dtype=F64)[:, None]
    return torch.exp(2j * math.pi * full * t)


def conv(name: str, **options) -> BasisConv:
    ends, samplings, _, modes = AXES[name]
    torch.manual_seed(0)
    families = terms(("auto",) * len(ends), ends)
    return BasisConv(2, 3, modes, families, samplings, **options).double()


def by_formula(layer: BasisConv, coefficients: list[dict], grid: tuple[int, ...]) -> Tensor:
    """The result for u given by its coefficients in each term: sum_k (R_k^T c_k) phi_k."""
    total = torch.zeros(*grid, 3, dtype=torch.complex128)
    for i, term in enumerate(layer.terms):
        R = layer.matrices(F64, i).to(torch.complex128)
        R = R.reshape(*map(len, layer._bands(layer.modes)), 2, 3)
        lines = [
            functions(f, m, torch.tensor(positions(s, n), dtype=F64))
            for f, m, s, n in zip(term, layer.modes, layer.samplings, grid, strict=True)
        ]
        for k, c in coefficients[i].items():
            phi = lines[0][k[0]]
            for line, j in zip(lines[1:], k[1:], strict=True):
                phi = phi[..., None] * line[j]
            total += phi[..., None] * (c @ R[k])
    return total


@pytest.mark.parametrize("kernel", ["fft", "dft"])
@pytest.mark.parametrize("name", [x for x in AXES if "circle" not in x])
def test_half_waves_by_formula_and_on_a_finer_grid(name: str, kernel: str) -> None:
    layer, grid = conv(name, bias=False), AXES[name][2]
    for term in layer.terms:
        k = tuple(1 for _ in term)
        c = torch.tensor([1.0, -2.0], dtype=torch.complex128)
        lines = [
            functions(f, m, torch.tensor(positions(s, n), dtype=F64)).real
            for f, m, s, n in zip(term, layer.modes, layer.samplings, grid, strict=True)
        ]
        phi = lines[0][1]
        for line in lines[1:]:
            phi = phi[..., None] * line[1]
        u = phi[..., None] * c.real
        single = BasisConv(2, 3, layer.modes, (term,), layer.samplings, bias=False).double()
        for size in (grid, tuple(2 * n for n in grid)):
            v = single(u[None], size, kernel)[0]
            expected = by_formula(single, [{k: c}], size)
            torch.testing.assert_close(v, expected.real, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kernel", ["fft", "dft"])
@pytest.mark.parametrize("name", [x for x in AXES if "circle" in x])
def test_mixed_axes_by_formula(name: str, kernel: str) -> None:
    layer = conv(name, bias=False)
    _, samplings, grid, modes = AXES[name]
    term = layer.terms[0]
    single = BasisConv(2, 3, modes, (term,), samplings, bias=False).double()
    k = tuple(1 if f != "fourier" else m for f, m in zip(term, modes, strict=True))
    # exponentials of frequency 0 on all circles but the last, frequency 1 on the last one
    last = max(i for i, f in enumerate(term) if f == "fourier")
    lines = []
    for i, (f, m, s, n) in enumerate(zip(term, modes, samplings, grid, strict=True)):
        t = torch.tensor(positions(s, n), dtype=F64)
        lines.append(functions(f, m, t)[k[i] + (i == last)])
    phi = lines[0]
    for line in lines[1:]:
        phi = phi[..., None] * line
    c = torch.tensor([1.0 + 0.5j, -2.0], dtype=torch.complex128)
    u = 2 * (phi[..., None] * c).real
    R = torch.view_as_complex(single.weight[0])
    index = list(k)
    index[last] = 1
    mixed = c @ R[tuple(index)]
    expected = 2 * (phi[..., None] * mixed).real
    torch.testing.assert_close(single(u[None], kernel=kernel)[0], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", AXES)
def test_kernels_and_gradients_agree(name: str) -> None:
    layer, grid = conv(name), AXES[name][2]
    u = torch.randn(2, *grid, 2, dtype=F64, requires_grad=True)
    results = []
    for kernel in ("fft", "dft"):
        v = layer(u, kernel=kernel)
        gradients = torch.autograd.grad(v.square().sum(), (u, *layer.parameters()))
        results.append((v, *gradients))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


def test_gradcheck() -> None:
    layer = conv("two axes")
    u = torch.randn(1, 9, 10, 2, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (u,))


@pytest.mark.parametrize(
    ("factor", "ranks"), [("cp", (3,)), ("tucker", (2, 2, 2, 2)), ("tt", (2, 2, 2))]
)
@pytest.mark.parametrize("name", ["two axes", "a circle and walls"])
def test_factors_of_full_weights(factor: str, ranks: tuple[int, ...], name: str) -> None:
    layer = conv(name, factor=factor, ranks=ranks)
    dense = conv(name)
    with torch.no_grad():
        parts = [layer.matrices(F64, i) for i in range(len(layer.terms))]
        stacked = torch.stack(parts).reshape(
            dense.weight.shape[: len(dense.weight.shape) - (not dense.real_weights)]
        )
        dense.weight.copy_(stacked if dense.real_weights else torch.view_as_real(stacked))
        dense.bias.copy_(layer.bias)
    u = torch.randn(2, *AXES[name][2], 2, dtype=F64)
    torch.testing.assert_close(layer(u), dense(u), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", ["two axes", "a circle and walls"])
def test_few_modes_are_the_first_of_many(name: str) -> None:
    layer = conv(name)
    _, _, grid, modes = AXES[name]
    few = tuple(m - 1 for m in modes)
    layer.limit(few)
    small = BasisConv(2, 3, few, layer.terms, layer.samplings).double()
    with torch.no_grad():
        for i in range(len(layer.terms)):
            R = layer.matrices(F64, i).reshape(small.weight[i].shape[:4])
            small.weight[i].copy_(R if small.real_weights else torch.view_as_real(R))
        small.bias.copy_(layer.bias)
    u = torch.randn(2, *grid, 2, dtype=F64)
    torch.testing.assert_close(layer(u), small(u), atol=1e-12, rtol=0)
    layer.limit(None)
    assert not torch.allclose(layer(u), small(u))


def test_initial_weights_have_the_variance_of_glorot() -> None:
    layer = BasisConv(40, 24, (12, 12), terms(("auto",) * 2, (WALLS,) * 2), ("both",) * 2)
    assert layer.weight.var().item() * 2 == pytest.approx(2 / 64, rel=0.05)


def test_complex_functions_have_complex_weights() -> None:
    layer = conv("two axes", real=False)
    u = torch.randn(2, 9, 10, 2, dtype=torch.complex128)
    v = layer(u)
    # linear over the complex numbers
    torch.testing.assert_close(layer(1j * u) - layer(0 * u), 1j * (v - layer(0 * u)))
    assert layer.weight.shape[-1] == 2


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="need more than 5 points"):
        conv("one axis")(torch.zeros(1, 5, 2, dtype=F64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("factor", ["dense", "tucker"])
def test_low_precision_runs_in_the_dtype_of_autocast(dtype: torch.dtype, factor: str) -> None:
    ranks = () if factor == "dense" else (2, 2, 3, 3)
    layer = conv("two axes", factor=factor, ranks=ranks).float()
    u = torch.randn(2, 9, 10, 2)
    exact = layer(u)
    with torch.autocast("cpu", dtype=dtype):
        # off: autocast does not reach the transforms
        torch.testing.assert_close(layer(u), exact, atol=1e-5, rtol=1e-5)
        layer.low_precision = True
        v = layer(u)
    error = ((v - exact).norm() / exact.norm()).item()
    assert v.dtype == torch.float32
    assert 1e-5 < error < 0.03
    v.square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())


def test_complex_weights_ignore_low_precision() -> None:
    layer = conv("a circle and walls").float()
    layer.low_precision = True
    u = torch.randn(2, 8, 9, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        v = layer(u)
    torch.testing.assert_close(v, layer(u), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_result_has_the_dtype_of_the_input_and_that_of_float32_at_least(dtype) -> None:
    layer = conv("two axes").to(dtype)
    u = torch.randn(2, 9, 10, 2, dtype=dtype)
    v = layer(u, kernel="dft")
    assert v.dtype == dtype
    bits = {torch.bfloat16: 8, torch.float32: 21, torch.float64: 48}[dtype]
    torch.testing.assert_close(
        v.double(), layer.double()(u.double()), atol=2.0**-bits * 8, rtol=2.0**-bits
    )


def test_separable_layers_keep_channels_apart() -> None:
    ends, samplings, grid, modes = AXES["two axes"]
    layer = BasisConv(3, 3, modes, terms(("auto",) * 2, ends), samplings, separable=True).double()
    u = torch.randn(2, *grid, 3, dtype=F64)
    changed = u.clone()
    changed[..., 1] += torch.randn(2, *grid, dtype=F64)
    difference = (layer(u) - layer(changed)).abs().amax((0, 1, 2))
    assert difference[[0, 2]].max() == 0
    assert difference[1] > 0


@pytest.mark.parametrize("kernel", ["fft", "dft"])
@pytest.mark.parametrize("sampling", ["lower", "interior"])
def test_another_grid_has_enough_points_too(sampling: str, kernel: str) -> None:
    layer = BasisConv(1, 1, (8,), (("sine",),), (sampling,))
    needed = {"lower": 9, "interior": 8}[sampling]
    x = torch.randn(1, 20, 1)
    assert layer(x, (needed,), kernel).shape == (1, needed, 1)
    with pytest.raises(ValueError, match=f"need more than {needed - 1} points"):
        layer(x, (needed - 1,), kernel)


@pytest.mark.parametrize(
    "name",
    [
        "cell centres",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("two axes", "a circle and walls")),
    ],
)
def test_one_exported_program_for_every_resolution(name: str) -> None:
    layer, grid = conv(name), AXES[name][2]

    class Products(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, kernel="dft")

    free = dict.fromkeys(range(1 + len(grid)), torch.export.Dim.AUTO)
    x = torch.randn(2, *grid, 2, dtype=F64)
    program = torch.export.export(Products(), (x,), dynamic_shapes=(free,))
    other = torch.randn(3, *(n + 7 for n in grid), 2, dtype=F64)
    torch.testing.assert_close(program.module()(other), layer(other), atol=1e-12, rtol=1e-12)


# torch scripts its own decompositions on the first derivative in forward mode
@pytest.mark.filterwarnings("ignore:.*jit.script:DeprecationWarning")
def test_forward_mode_and_batched_gradients() -> None:
    layer = conv("two axes")
    u, du = (torch.randn(2, 9, 10, 2, dtype=F64) for _ in range(2))
    for kernel in ("fft", "dft"):
        call = lambda x, kernel=kernel: layer(x, kernel=kernel)  # noqa: E731
        _, dv = torch.func.jvp(call, (u,), (du,))
        # the layer is affine
        torch.testing.assert_close(dv, layer(u + du) - layer(u), atol=1e-12, rtol=0)
        total = lambda x, call=call: call(x[None]).square().sum()  # noqa: E731
        each = torch.func.vmap(torch.func.grad(total))(u)
        single = [torch.func.grad(total)(x) for x in u]
        torch.testing.assert_close(each, torch.stack(single), atol=1e-12, rtol=1e-12)
