import pytest
import torch

from opdsl.nn import Crop, Pad, crop, pad


def test_pad_writes_zeros_around():
    y = pad(torch.ones(1, 2, 3, 1), (1, 0), (0, 2))[0, ..., 0]
    assert y.tolist() == [[0, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]


def test_crop_takes_what_begins_at_a_point():
    x = torch.arange(12.0).reshape(1, 3, 4, 1)
    assert crop(x, (1, 2), (2, 2))[0, ..., 0].tolist() == [[6, 7], [10, 11]]


@pytest.mark.parametrize("sides", ["end", "both"])
@pytest.mark.parametrize("size", [(5, 6), (6, 9), (7, 11)])
def test_crop_undoes_pad(sides, size):
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6, 3)
    padded = Pad(sides)(x, size)
    assert padded.shape == (2, *size, 3)
    assert torch.equal(Crop(sides)(padded, (5, 6)), x)


def test_padding_on_both_sides_puts_the_smaller_half_before():
    y = Pad("both")(torch.ones(1, 2, 1), (5,))
    assert y[0, :, 0].tolist() == [0, 1, 1, 0, 0]
