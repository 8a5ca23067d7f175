import pytest
import torch

from opdsl.nn.spectral.factors import Tucker
from opdsl.nn.spectral.tucker import core_matrices, rank_space_product

SHAPES = {"one axis": (5, 4, 7), "two axes": (5, 4, 6, 3), "three axes": (3, 4, 4, 3, 2)}


def weight(name: str) -> Tucker:
    torch.manual_seed(0)
    shape = SHAPES[name]
    made = Tucker(shape, tuple(n - 1 for n in shape)).double()
    made.reset_parameters(1.0)
    return made


def parts(z: torch.Tensor) -> torch.Tensor:
    return torch.stack((z.real, z.imag), 1)


@pytest.mark.parametrize("name", SHAPES)
def test_real_products_are_the_complex_ones_forward_and_backward(name):
    made = weight(name)
    modes = torch.Size(SHAPES[name][2:]).numel()
    u = torch.randn(3, modes, 5 if name != "three axes" else 3, dtype=torch.complex128)
    u.requires_grad_()
    there, found = parts(made.mix(u, torch.float64)), made.mix_parts(parts(u))
    assert (found - there).norm() <= 1e-12 * there.norm()
    g, inputs = torch.randn_like(there), (u, *made.parameters())
    pairs = zip(*(torch.autograd.grad(y, inputs, g) for y in (there, found)), strict=True)
    assert all((a - b).norm() <= 1e-12 * a.norm() for a, b in pairs)


def test_small_matrices_are_the_core_at_each_mode():
    made = weight("two axes")
    core, _, _, *rest = (torch.view_as_complex(x) for x in (made.core, *made.factors))
    there = torch.einsum("rqab,ma,nb->mnrq", core, *rest).flatten(0, 1)
    found = core_matrices(made.core, list(made.factors)[2:])
    assert torch.allclose(found, parts(there), atol=1e-13)


def test_the_derivative_is_that_of_differences():
    made = weight("one axis")
    small = core_matrices(made.core, list(made.factors)[2:]).detach().requires_grad_()
    x = torch.randn(2, 2, 7, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        rank_space_product, (x, made.factors[0], small, made.factors[1])
    )
