"""The certificate against torch's own symbolic shapes: what it promises, `Dim.AUTO` admits.

torch derives the range of each size from the operations it meets; the certificate derives it from
the program. The exported range must contain every resolution that the certificate promises. The
kernel is `dft`: around fast transforms torch itself tests whether their padding is empty, which
excludes the smallest size though the operator is defined there.
"""

import warnings
from pathlib import Path

import pytest
import torch
from torch.export import Dim, export

import opdsl
from opdsl.ir.certificate import certify

ROOT = Path(__file__).parents[2]
NARROW = {
    "specs/coda_no.op": {"width": 4, "depth": 1, "heads": 1},
    "specs/fno_darcy.op": {"width": 4, "depth": 2},
    "specs/fno_darcy_small.op": {"width": 4, "depth": 2},
    "tests/data/language/uno.op": {"w": 2},
    "tests/data/language/fno_darcy.op": {"width": 4, "depth": 2},
}


def ranges(module, *inputs):
    """For each axis of each input the smallest and greatest size that torch admits."""
    auto = [{0: Dim.AUTO} | dict.fromkeys(range(2, x.ndim), Dim.AUTO) for x in inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about itself
        program = export(module, inputs, dynamic_shapes=(tuple(auto),))
    known = {str(k): v for k, v in program.range_constraints.items()}
    shapes = [
        n.meta["val"].shape
        for n in program.graph.nodes
        if n.op == "placeholder" and n.name.startswith("inputs")
    ]
    return program, [[known[str(n)] for n in shape[2:]] for shape in shapes]


SMALLEST = "specs/fno_darcy_small.op"  # the others take torch up to a minute each


@pytest.mark.parametrize(
    "path", [SMALLEST, *(pytest.param(x, marks=pytest.mark.slow) for x in NARROW if x != SMALLEST)]
)
def test_torch_admits_every_resolution_that_the_certificate_promises(path):
    module = opdsl.compile(ROOT / path, **NARROW[path]).eval()
    module.force_kernel = "dft"
    promises = certify(module.graph).promises
    ports = module.graph.inputs
    least = tuple(x.axis.least for x in promises)
    above = tuple(
        n + 16 for n in least
    )  # a traced resampling is one for this parity of n, n / 2, n / 4
    program, found = ranges(module, *(torch.randn(2, p.space.channels, *above) for p in ports))
    for port in found:
        for admitted, promise in zip(port, promises, strict=True):
            assert admitted.lower <= promise.axis.least
            assert admitted.upper > 1e9
    x = [torch.randn(3, p.space.channels, *least) for p in ports]
    torch.testing.assert_close(program.module()(*x), module(*x))


LEVELS = """edition 2026

model Levels {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 36)
  input a : D -> R^3
  output u : D -> R^1

  e1 = a |> spectral_conv(modes = 6, out = 2, to = D / 2)
  e2 = e1 |> spectral_conv(modes = 4, to = D / 4)
  u = e2 |> spectral_conv(modes = 4, to = D / 2) |> spectral_conv(modes = 4, out = 1, to = D)
}
"""


def least_of_torch(module, *grid):
    """The smallest sizes that torch admits, which are those of the certificate."""
    module = module.eval()
    module.force_kernel = "dft"
    _, found = ranges(module, torch.randn(2, 3, *grid))
    least = [x.lower for x in found[0]]
    assert least == [x.needed for x in certify(module.graph).promises]
    return least


@pytest.mark.slow
def test_the_sampling_theorem_is_what_torch_finds_too():
    """The tightest range of torch is the bound of the certificate, where the bound is exact."""
    assert least_of_torch(opdsl.compile(LEVELS), 48, 44) == [36, 36]


@pytest.mark.slow
def test_the_sampling_theorem_of_a_whole_uno_is_what_torch_finds_too():
    module = opdsl.compile(ROOT / "tests/data/language/uno.op", w=2)
    assert least_of_torch(module, 80, 76) == [68, 68]
