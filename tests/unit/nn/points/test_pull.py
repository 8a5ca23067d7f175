"""Functions read at points that are named by their numbers."""

import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError
from opdsl.nn.points.pull import Pull

TEXT = """edition 2026

model M {
  domain L = grid(u: 0..1, v: 0..1, min = 2)
  domain P = points(3, geometry = per_sample)
  input f : L -> R^2
  input n : P -> R^1
  output w : P -> R^2

  w = pull(f, n)
}
"""


def test_the_last_axis_runs_fastest():
    f = torch.arange(24.0).reshape(1, 3, 4, 2)
    n = torch.tensor([0.0, 5, 11])[None, :, None]
    assert Pull()(f, n).tolist() == [[[0, 1], [10, 11], [22, 23]]]


def test_samples_have_numbers_of_their_own_and_share_a_function_or_numbers():
    torch.manual_seed(0)
    f, n = torch.rand(2, 4, 5, 3), torch.randint(20, (2, 7, 1)).float()
    wanted = torch.stack([x.flatten(0, 1)[i[:, 0].long()] for x, i in zip(f, n, strict=True)])
    assert torch.equal(Pull()(f, n), wanted)
    assert torch.equal(Pull()(f, n[:1])[1], f[1].flatten(0, 1)[n[0, :, 0].long()])
    assert torch.equal(Pull()(f[:1], n)[1], f[0].flatten(0, 1)[n[1, :, 0].long()])


def test_packed_samples_read_their_own_function():
    torch.manual_seed(0)
    f = torch.rand(2, 2, 4, 5)
    n = [torch.randint(20, (1, k)).float() for k in (6, 9)]
    found = opdsl.compile(TEXT)(f, opdsl.Packed.of(n))
    for x, i, y in zip(f, n, found.parts, strict=True):
        assert torch.equal(y, x.flatten(1)[:, i[0].long()])


@pytest.mark.parametrize("number", [-1.0, 20.0, float("nan")])
def test_a_number_of_no_point_is_refused(number):
    n = torch.zeros(1, 1, 5)
    n[0, 0, 3] = number
    with pytest.raises(OpError, match="1 of 5 numbers are of no point: there are 20") as found:
        opdsl.compile(TEXT)(torch.rand(1, 2, 4, 5), n)
    assert found.value.diagnostics[0].code == "OP0911"


@pytest.mark.parametrize(("change", "code"), [
    (("input n : P -> R^1", "input n : P -> R^2"), "OP0303"),
    (("input f : L -> R^2", "input f : R^2"), "OP0301"),
])  # fmt: skip
def test_what_is_no_function_with_numbers_is_refused(change, code):
    assert [x.code for x in opdsl.check(TEXT.replace(*change)).errors] == [code]


def test_a_format_that_rounds_numbers_is_refused():
    with pytest.raises(OpError, match="whole numbers up to 256, and there are 400 points"):
        Pull()(torch.rand(1, 20, 20, 1), torch.zeros(1, 3, 1).bfloat16())
