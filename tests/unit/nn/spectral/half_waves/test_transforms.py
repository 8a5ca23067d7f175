"""Transforms to half-waves against functions evaluated by formula, in float64."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from opdsl.bases import HALF_WAVES, capacity, carried
from opdsl.nn.spectral.half_waves import transforms as half_waves
from opdsl.sampling import SAMPLINGS, positions

F64 = torch.zeros((), dtype=torch.float64)
CASES = [(f, s) for f in HALF_WAVES for s in SAMPLINGS if carried(f, s)]


def functions(family: str, modes: int, t: Tensor) -> Tensor:
    k = torch.arange(modes, dtype=torch.float64)[:, None]
    return {
        "sine": lambda: torch.sin(math.pi * (k + 1) * t),
        "cosine": lambda: torch.cos(math.pi * k * t),
        "quarter_sine": lambda: torch.sin(math.pi * (k + 0.5) * t),
        "quarter_cosine": lambda: torch.cos(math.pi * (k + 0.5) * t),
    }[family]()


@pytest.mark.parametrize(("family", "sampling"), CASES)
@pytest.mark.parametrize("n", [7, 8])
def test_coefficients_of_all_functions_that_the_points_carry(
    family: str, sampling: str, n: int
) -> None:
    most = capacity(family, sampling, n)
    phi = functions(family, most, torch.tensor(positions(sampling, n), dtype=torch.float64))
    for m in (most, most - 2):
        A = half_waves.analysis(family, sampling, n, m, F64)
        torch.testing.assert_close(
            A @ phi.T, torch.eye(m, most, dtype=torch.float64), atol=1e-12, rtol=0
        )
        S = half_waves.synthesis(family, sampling, n, m, F64)
        torch.testing.assert_close(S, phi[:m].T, atol=1e-12, rtol=0)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("family", HALF_WAVES)
@pytest.mark.parametrize("n", [7, 8])
def test_fast_transforms_and_their_adjoints_equal_the_matrices(
    family: str, sampling: str, n: int
) -> None:
    m = capacity(family, sampling, n) if carried(family, sampling) else n - 2
    x = torch.randn(2, n, 3, dtype=torch.float64, requires_grad=True)
    A = half_waves.analysis(family, sampling, n, m, F64)
    c = half_waves.fast_analysis(x, 1, family, sampling, m)
    torch.testing.assert_close(c, A @ x, atol=1e-12, rtol=0)
    g = torch.randn_like(c)
    (gx,) = torch.autograd.grad(c, x, g)
    torch.testing.assert_close(gx, A.T @ g, atol=1e-12, rtol=0)

    z = torch.randn(2, m, 3, dtype=torch.float64, requires_grad=True)
    S = half_waves.synthesis(family, sampling, n, m, F64)
    y = half_waves.fast_synthesis(z, 1, family, sampling, n)
    torch.testing.assert_close(y, S @ z, atol=1e-12, rtol=0)
    h = torch.randn_like(y)
    (gz,) = torch.autograd.grad(y, z, h)
    torch.testing.assert_close(gz, S.T @ h, atol=1e-12, rtol=0)


@pytest.mark.parametrize("sampling", ["lower", "interior"])
def test_a_missing_end_is_extrapolated_to_second_order(sampling: str) -> None:
    errors = []
    for n in (32, 64, 128):
        t = torch.tensor(positions(sampling, n), dtype=torch.float64)
        A = half_waves.analysis("cosine", sampling, n, 4, F64)
        # of exp(t): integrals of exp(t) cos(pi k t) over [0, 1], twice, and once for k = 0
        k = torch.arange(4, dtype=torch.float64)
        exact = 2 * ((-1) ** k * math.e - 1) / (1 + (math.pi * k) ** 2)
        exact[0] /= 2
        errors.append((A @ t.exp() - exact).abs().max().item())
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(1.8 < x < 2.3 for x in orders), (errors, orders)


def test_too_many_functions_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 5"):
        half_waves.analysis("sine", "both", 7, 6, F64)
    with pytest.raises(ValueError, match="at most 7"):
        half_waves.fast_analysis(torch.zeros(1, 7, 1), 1, "cosine", "both", 8)


def test_gradients_of_gradients() -> None:
    x = torch.randn(1, 6, 2, dtype=torch.float64, requires_grad=True)
    call = lambda x: half_waves.fast_analysis(x, 1, "quarter_sine", "both", 4).square()  # noqa: E731
    assert torch.autograd.gradcheck(call, (x,))
    assert torch.autograd.gradgradcheck(call, (x,))
