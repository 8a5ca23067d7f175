"""A program by real and imaginary parts: the same numbers, and no complex tensor left."""

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from opdsl.lower.exported.real import RealParts, as_real, fold_constants

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's, of itself
SIZES = (8, 9)  # transforms of even and odd lengths differ
COMPLEX = torch.complex128


class Both(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(draw(3, 3, kind=COMPLEX, seed=1))

    def forward(self, x):
        return self.function(x, self.weight)


def draw(*shape, kind=COMPLEX, seed=0):
    return torch.randn(*shape, dtype=kind, generator=torch.Generator().manual_seed(seed))


FUNCTIONS = {
    "sum with a real": lambda z, _: z.real + z + z.imag - z,
    "product with weights": lambda z, w: z @ w,
    "product and conjugate": lambda z, _: z * z.conj() * (1 + 2j),
    "quotient": lambda z, _: z / (z + 2) + 1 / (z.real + 5) + z / 3,
    "modulus": lambda z, _: z.abs(),
    "rearranged": lambda z, _: torch.cat((z.flip(1), z.movedim(1, 2).movedim(2, 1)), 1).sum(1),
    "padded": lambda z, _: nn.functional.pad(z[:, 1:].unsqueeze(1), (0, 0, 2, 1)),
    "fft": lambda z, _: torch.fft.fftn(z, dim=(1, 2)),
    "ifft": lambda z, _: torch.fft.ifft(z, dim=1, norm="ortho"),
    "rfft": lambda z, _: torch.fft.rfftn(z.real, dim=(2, 1), norm="forward"),
    "irfft": lambda z, _: torch.fft.irfft(z, dim=1, n=12, norm="backward"),
    "irfft odd": lambda z, _: torch.fft.irfftn(z, dim=(2, 1), s=(3, 11)),
}


@pytest.mark.parametrize(
    ("name", "size"),
    [(x, n) for x in FUNCTIONS for n in (SIZES if "fft" in x else SIZES[:1])],
)
def test_parts_are_those_of_complex_arithmetic(name, size):
    module, z = Both(FUNCTIONS[name]), draw(2, size, 3)
    held = RealParts(export(module, (z,)), (z,))
    with torch.no_grad():
        (found,) = held(as_real(z))
        expected = as_real(module(z))
    assert ((found - expected).abs().max() / expected.abs().max()).item() < 1e-14


@pytest.mark.slow
def test_nothing_complex_is_left_and_sizes_stay_free():
    module, z = (
        Both(lambda z, w: torch.fft.irfft(torch.fft.rfft(z.real, dim=1) @ w, dim=1)),
        draw(2, 8, 3),
    )
    free = ({0: Dim.AUTO, 1: Dim.DYNAMIC},)
    with torch.no_grad():
        program = export(module, (z,), dynamic_shapes=free)
        again = export(RealParts(program, (z,)), (as_real(z),), dynamic_shapes=(free,))
    made = [x.meta["val"] for x in again.graph.nodes if "val" in x.meta]
    assert not any(x.is_complex() for x in made if isinstance(x, torch.Tensor))
    other = draw(3, 12, 3)
    expected = module(other)
    assert ((again.module()(as_real(other))[0] - expected).abs().max()).item() < 1e-14


def test_an_operation_without_a_rule_is_named():
    module, z = Both(lambda z, _: z.angle()), draw(2, 4, 3)
    with pytest.raises(NotImplementedError, match=r"angle|atan"):
        RealParts(export(module, (z,)), (z,))(as_real(z))


def test_what_depends_on_no_input_is_stored():
    def turned(z, _):
        return z.real * torch.arange(z.shape[1], dtype=torch.float64).cos()[:, None]

    z = draw(2, 8, 3)
    held = RealParts(export(Both(turned), (z,)), (z,)).held
    assert not [x for x in held.graph.nodes if "cos" in str(x.target)]
    names = dict(held.named_buffers())
    assert sum(x.startswith("table_") for x in names) == 1  # and no step on the way to it


def written_table(z, _):
    t = torch.zeros(z.shape[1], dtype=torch.float64)
    t[1:] = torch.arange(1.0, z.shape[1], dtype=torch.float64).cos()
    return z.real * t[:, None]


def conjugated(z, _):
    return z * torch.fft.fft(torch.arange(z.shape[1], dtype=torch.float64)).conj()[:, None]


def test_a_stored_table_may_be_the_conjugate_of_one():
    module, z = Both(conjugated), draw(2, 8, 3)
    (found,) = RealParts(export(module, (z,)), (z,))(as_real(z))
    assert torch.allclose(found, as_real(module(z)), rtol=0, atol=1e-12)


def written_by_an_input(z, _):
    t = torch.zeros(z.shape, dtype=torch.float64)
    t[:, 1:] = z.real[:, 1:]
    return 2 * t


@pytest.mark.parametrize(
    ("function", "writes"), [(written_table, False), (written_by_an_input, True)]
)
def test_tables_that_are_written_to_are_stored_unless_an_input_is_written(function, writes):
    module, z = Both(function), draw(2, 8, 3)
    held = fold_constants(export(module, (z,)).module(check_guards=False))
    assert any("copy_" in str(x.target) for x in held.graph.nodes) is writes
    for x in (z, draw(2, 8, 3, seed=5)):  # twice: nothing of the first stays
        assert torch.equal(held(x), module(x))
