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
