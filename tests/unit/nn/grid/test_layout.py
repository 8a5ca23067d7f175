"""Coordinates, joining, padding and cropping."""

import pytest
import torch

from opdsl.nn import Concat, Coords, Crop, Pad, concat, coords, crop, pad


def test_a_periodic_axis_leaves_out_its_upper_end():
    x = coords((4,), (0.0,), (1.0,), (True,))
    assert x[0, :, 0].tolist() == [0.0, 0.25, 0.5, 0.75]


def test_an_axis_with_ends_includes_both():
    x = coords((5,), (-1.0,), (1.0,), (False,))
    assert x[0, :, 0].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_each_axis_is_one_channel_in_order():
    x = coords((2, 3), (0.0, 10.0), (2.0, 13.0), (True, True), dtype=torch.float64)
    assert x.shape == (1, 2, 3, 2)
    assert x[0, 1, 2].tolist() == [1.0, 12.0]


def test_one_point_stands_at_the_lower_end():
    assert coords((1,), (3.0,), (4.0,), (False,)).item() == 3.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coordinates_have_the_dtype_of_the_other_functions(dtype):
    layer = Coords((0.0,), (1.0,), (True,))
    assert layer(size=(3,), like=torch.zeros(1, dtype=dtype)).dtype == dtype
    assert not layer.state_dict()


def test_concat_repeats_a_batch_of_one():
    a, b = torch.zeros(3, 4, 2), torch.ones(1, 4, 1)
    assert concat([a, b]).shape == (3, 4, 3)
    assert torch.equal(Concat()(a, b)[2, :, 2], torch.ones(4))


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
