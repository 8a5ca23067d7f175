"""The block `series`: one function at every resolution."""

import math

import pytest
import torch

from opdsl.nn.spectral.series import Series

LIKE = torch.empty(0, dtype=torch.float64)


def made(channels: int, modes: tuple[int, ...], closed: tuple[bool, ...], **more: bool) -> Series:
    torch.manual_seed(len(modes))
    return Series(channels, modes, closed, **more).double()


def at(series: Series, places: list[torch.Tensor]) -> torch.Tensor:
    """The sum over all k, term by term, at the points of a grid."""
    c = torch.view_as_complex(series.weight.detach())
    x = torch.stack(torch.meshgrid(*places, indexing="ij"), -1)
    total = torch.zeros(*x.shape[:-1], c.shape[-1], dtype=torch.float64)
    for index in torch.cartesian_prod(*(torch.arange(len(b)) for b in series.bands)).reshape(
        -1, len(places)
    ):
        k = torch.tensor([b[i] for b, i in zip(series.bands, index.tolist(), strict=True)])
        wave = torch.exp(2j * math.pi * (x * k).sum(-1))[..., None]
        share = 1 if k[-1] == 0 else 2
        total += share * (c[tuple(index.tolist())] * wave).real
    return total


def places(size: tuple[int, ...], closed: tuple[bool, ...]) -> list[torch.Tensor]:
    return [
        torch.arange(n, dtype=torch.float64) / (n if ring else n - 1)
        for n, ring in zip(size, closed, strict=True)
    ]


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(
    ("modes", "closed", "size"),
    [
        ((3,), (True,), (8,)),
        ((3,), (False,), (9,)),
        ((2, 3), (True, True), (5, 7)),
        ((2, 3), (False, True), (7, 10)),
        ((1, 2, 1), (True, False, False), (4, 6, 5)),
    ],
)
def test_it_is_the_sum_of_its_waves(modes, closed, size, positive):
    series = made(2, modes, closed, positive=positive)
    expected = at(series, places(size, closed))
    torch.testing.assert_close(series(size=size, like=LIKE)[0], expected)


def test_between_two_ends_it_is_the_same_function_on_a_finer_grid():
    series = made(3, (2, 2), (True, False))
    coarse, fine = series(size=(6, 7), like=LIKE), series(size=(12, 13), like=LIKE)
    torch.testing.assert_close(fine[:, ::2, ::2], coarse)
    torch.testing.assert_close(coarse[:, :, 0], coarse[:, :, -1])


@pytest.mark.parametrize("positive", [False, True])
def test_it_begins_with_the_variance_one(positive):
    series = made(4000, (2, 1), (True, True), positive=positive)
    w = series(size=(5, 4), like=LIKE)[0].detach()
    assert w.square().mean(-1).numpy() == pytest.approx(1, abs=0.12)
    assert w.mean(-1).numpy() == pytest.approx(0, abs=0.1)


def test_too_few_points_are_told():
    with pytest.raises(ValueError, match="needs at least 7 points, got 6"):
        made(1, (3,), (False,))(size=(7,), like=LIKE)


@pytest.mark.parametrize("size", [(9, 7), (6, 8), (5, 8)])
def test_positive_waves_divided_by_the_points_are_what_torch_makes_of_a_short_spectrum(size):
    """The positional encoding of neuraloperator; frequencies above the half are negative ones."""
    series = made(2, (4, 3), (True, True), positive=True, divided=True)
    spectrum = torch.view_as_complex(series.weight.detach())
    expected = torch.fft.irfftn(spectrum, s=size, dim=(0, 1))
    torch.testing.assert_close(series(size=size, like=LIKE)[0], expected)


def test_positive_waves_need_as_many_points():
    series = made(2, (4, 3), (True, True), positive=True)
    with pytest.raises(ValueError, match="5 frequencies need as many points, got 4"):
        series(size=(4, 8), like=LIKE)


def test_it_begins_smooth():
    """Coefficients fall like (1 + |k|^2)^-3 in the mean of their squares."""
    series = made(20000, (3, 2), (True, True))
    found = series.weight.detach().square().sum(-1).mean(-1)
    k = torch.tensor([[a * a + b * b for b in range(3)] for a in range(-3, 4)])
    expected = (1.0 + k).double() ** -3
    torch.testing.assert_close(found / found[3, 0], expected, rtol=0.05, atol=0)
