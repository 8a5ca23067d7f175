"""`faults` computes what two releases of neuraloperator compute where that is wrong.

The newest commit and release 2.0.0 cannot be imported side by side: a checkout of the one or the
other on PYTHONPATH decides which of these tests run.
"""

import warnings

import pytest
import torch

from opdsl.nn import SpectralConv
from opdsl.nn.spectral.resample import resample

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    reference = pytest.importorskip(
        "neuralop.models", reason="neuraloperator is not importable here", exc_type=ImportError
    )
NEWEST = hasattr(reference, "RNO")  # which release 2.0.0 has not
FAULTS = "neuralop_93d3f06" if NEWEST else "neuralop_2_0_0"
CHANGES = [
    ((12,), (24,)),
    ((12, 16), (24, 8)),
    ((12, 16), (6, 8)),
    ((16, 12), (13, 15)),
    ((13, 15), (20, 24)),
    ((13, 15), (13, 15)),
    ((8, 9, 10), (16, 9, 12)),
]


def pair(modes: tuple[int, ...], *, real: bool):
    """Their layer and ours with the same weights; `modes` as they count, even."""
    torch.manual_seed(0)
    theirs = reference.fno.SpectralConv(3, 4, modes, complex_data=not real)
    halves = tuple(n // 2 for n in modes)
    ours = SpectralConv(3, 4, halves, layout="neuralop", faults=FAULTS, real=real)
    with torch.no_grad():
        R = theirs.weight.to_tensor().movedim((0, 1), (-2, -1))
        ours.weight.copy_(torch.view_as_real(R))
        bias = theirs.bias.flatten()
        ours.bias.copy_(bias if real else torch.view_as_real(bias + 0j))
    return theirs, ours


@pytest.mark.parametrize(("there", "here"), CHANGES)
def test_a_change_of_resolution_is_as_wrong_as_theirs(there, here):
    theirs, ours = pair((4,) * len(there), real=True)
    x = torch.randn(2, 3, *there)
    u = theirs(x, output_shape=here).movedim(1, -1)
    v = ours(x.movedim(1, -1), here)
    torch.testing.assert_close(v, u, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(12,), (13,), (12, 16), (13, 15), (8, 9, 10)])
def test_complex_functions_are_as_wrong_as_theirs(size):
    theirs, ours = pair((4,) * len(size), real=False)
    x = torch.randn(2, 3, *size, dtype=torch.complex64)
    u = theirs(x).movedim(1, -1)
    torch.testing.assert_close(ours(x.movedim(1, -1)), u, rtol=1e-5, atol=1e-5)


def test_without_faults_a_finer_grid_samples_the_same_function():
    """Between the points of the coarse grid theirs is another function."""
    theirs, ours = pair((4, 4), real=True)
    right = SpectralConv(3, 4, (2, 2), layout="neuralop")
    right.load_state_dict(ours.state_dict())
    x = torch.randn(1, 12, 16, 3)
    expected = resample(right(x), (24, 32))
    torch.testing.assert_close(right(x, (24, 32)), expected, rtol=1e-5, atol=1e-5)
    wrong = theirs(x.movedim(-1, 1), output_shape=(24, 32)).movedim(1, -1)
    assert (wrong - expected).norm() > 0.3 * expected.norm()


@pytest.mark.parametrize("n", [60, 64])
def test_half_spectra_of_theirs_do_not_run_on_a_cpu_and_ours_are_near(n):
    x = torch.randn(1, 3, n, n, generator=torch.Generator().manual_seed(1))
    theirs, ours = pair((12, 16), real=True)
    exact = theirs(x).movedim(1, -1)
    theirs.fno_block_precision = "half"
    with pytest.raises(RuntimeError):
        theirs(x)
    ours.low_precision = True
    with torch.autocast("cpu", torch.float16):
        found = ours(x.movedim(1, -1))
    assert float((found - exact).detach().norm() / exact.detach().norm()) < 1e-3
