"""One vector for all points."""

import math

import pytest
import torch

import opdsl
from opdsl import Geometry, Packed

TEXT = """edition 2026

model M {
  domain P = points(2, geometry = per_sample, measure = given)
  input f : P -> R^2
  output w : R^2

  w = pool(f)
}
"""


def cloud(n):
    g = torch.Generator().manual_seed(n)
    return torch.rand(n, 2, generator=g), torch.rand(n, generator=g) + 0.1


@pytest.fixture
def f():
    return [torch.randn(2, n, generator=torch.Generator().manual_seed(n)) - 3 for n in (5, 8)]


def test_the_greatest_of_each_channel_and_sample(f):
    found = opdsl.compile(TEXT)(Packed.of(f))
    assert torch.equal(found, torch.stack([x.amax(1) for x in f]))
    assert torch.equal(opdsl.compile(TEXT)(f[0][None]), found[:1])


def test_the_gradient_of_a_maximum_goes_where_it_is(f):
    values = Packed.of(f).values.requires_grad_()
    opdsl.compile(TEXT)(Packed(values, (5, 8))).sum().backward()
    wanted = [torch.nn.functional.one_hot(x.argmax(1), x.shape[1]) for x in f]
    assert torch.equal(values.grad[0], torch.cat(wanted, 1).float())


def test_a_mean_weighs_points_by_what_they_stand_for(f):
    model = opdsl.compile(TEXT.replace("pool(f)", "pool(f, kind = mean)"))
    points, weights = zip(*(cloud(x.shape[1]) for x in f), strict=True)
    found = model(Packed.of(f), P=[Geometry(*x) for x in zip(points, weights, strict=True)])
    wanted = [(x * w).sum(1) / w.sum() for x, w in zip(f, weights, strict=True)]
    torch.testing.assert_close(found, torch.stack(wanted))


def test_a_mean_over_a_long_grid_is_that_of_the_function():
    text = TEXT.replace("points(2, geometry = per_sample, measure = given)", "grid(x: 0..3)")
    x = torch.linspace(0, 3, 65, dtype=torch.float64)
    f = torch.stack((x, 1 + 0 * x))[None]
    found = opdsl.compile(text.replace("pool(f)", "pool(f, kind = mean)")).double()(f)
    torch.testing.assert_close(found, torch.tensor([[1.5, 1]]).double())


def test_a_maximum_tends_to_that_of_the_function_like_the_square_of_the_step():
    model = opdsl.compile(
        TEXT.replace("points(2, geometry = per_sample, measure = given)", "grid(x: 0..1)")
    )
    gaps = []  # of even numbers of points: the maximum lies between two
    for n in (16, 64):
        x = torch.linspace(0, 1, n, dtype=torch.float64)
        wave = torch.cos(math.pi * (x - 0.5))
        gaps.append(1 - float(model.double()(torch.stack((wave, wave))[None])[0, 0]))
    assert 3.5 < math.log(gaps[0] / gaps[1]) / math.log(2) < 4.5


@pytest.mark.parametrize(
    ("domain", "said"),
    [("spectrum(D, 3)", "Fourier modes"), ("extend(D, fraction = 0.5)", "extends")],
)
def test_other_domains_are_refused(domain, said):
    text = f"""edition 2026

model M {{
  domain D = grid(x: 0..1, boundary = periodic, min = 16)
  domain E = {domain}
  input f : E -> R^2
  output w : R^2

  w = pool(f)
}}
"""
    found = opdsl.check(text).errors
    assert [x.code for x in found] == ["OP0301"]
    assert said in found[0].labels[0].text
