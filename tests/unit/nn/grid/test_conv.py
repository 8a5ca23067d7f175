import pytest
import torch
from torch.nn import functional

from opdsl.nn.grid.conv import Interpolate

SIZES = {  # kind, grid, grid of the result, torch's name
    "linear": ("linear", (8,), (13,), "linear"),
    "finer": ("cubic", (8, 9), (16, 18), "bicubic"),
    "coarser on one axis": ("cubic", (8, 9), (16, 5), "bicubic"),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_matrix_for_each_axis_is_the_interpolation_of_torch(name):
    kind, grid, size, mode = SIZES[name]
    torch.manual_seed(0)
    x = torch.randn(2, *grid, 3, dtype=torch.float64, requires_grad=True)
    found = Interpolate(kind)(x, size)
    y = functional.interpolate(x.movedim(-1, 1), size=size, mode=mode, align_corners=True)
    there = y.movedim(1, -1)
    g = torch.randn_like(there)
    assert (found - there).norm() <= 1e-13 * there.norm()
    back, own = (torch.autograd.grad(z, x, g, retain_graph=True)[0] for z in (there, found))
    assert (own - back).norm() <= 1e-13 * back.norm()


def test_matrices_that_inference_made_serve_a_training_step():
    layer, x = Interpolate("cubic"), torch.randn(1, 7, 7, 2, requires_grad=True)
    with torch.inference_mode():
        layer(x, (11, 11))
    layer(x, (11, 11)).sum().backward()
    assert x.grad is not None
