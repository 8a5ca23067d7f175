import pytest
import torch

from opdsl.nn.spectral.conv import SpectralConv
from opdsl.nn.spectral.neuralop_compat import FAULTS, convolve_faulty, convolve_faulty_dft
from opdsl.spectrum import frequencies

GRIDS = {  # grid, grid of the result, modes
    "coarser": ((16, 12), (8, 6), (3, 3)),
    "finer, with the Nyquist frequency": ((8, 8), (16, 13), (4, 4)),
    "odd": ((9, 8), (9, 16), (3, 2)),
    "odd to even with its greatest frequency": ((9, 9), (16, 16), (3, 4)),
    "the Nyquist frequency at the end": ((16, 16), (8, 8), (4, 4)),
    "one axis": ((10,), (20,), (5,)),
    "three axes": ((7, 9, 8), (14, 5, 6), (2, 2, 3)),
}


@pytest.mark.parametrize("faults", FAULTS[1:])
@pytest.mark.parametrize("name", GRIDS)
def test_matrix_products_have_the_faults_of_the_fast_transforms(name, faults):
    grid, size, modes = GRIDS[name]
    torch.manual_seed(0)
    bands = frequencies(modes, "neuralop")
    R = torch.randn(torch.Size(map(len, bands)).numel(), 3, 2, dtype=torch.complex128)
    x = torch.randn(2, *grid, 3, dtype=torch.float64)

    def mix(u):
        return torch.einsum("bki,kio->bko", u, R)

    there = convolve_faulty(x, mix, bands, size, faults)
    found = convolve_faulty_dft(x, mix, bands, size, faults)
    assert (found - there).norm() <= 1e-12 * there.norm()


def test_a_faulty_layer_has_both_kernels_forward_and_backward():
    torch.manual_seed(0)
    layer = SpectralConv(3, 2, (3, 3), layout="neuralop", faults=FAULTS[2])
    x, found = torch.randn(2, 12, 10, 3, requires_grad=True), []
    g = torch.randn(2, 24, 20, 2)
    for kernel in ("fft", "dft"):
        y = layer(x, (24, 20), kernel)
        found.append((y, *torch.autograd.grad(y, (x, layer.weight), g)))
    assert not torch.equal(found[0][0], found[1][0])
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() <= 1e-6 * a.norm()
