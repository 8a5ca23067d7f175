import pytest
import torch

from opdsl.nn import Coords, coords


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
