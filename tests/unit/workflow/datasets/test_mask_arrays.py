"""Masks as arrays: every shape that they may have, and what is filled where they are zero."""

import numpy as np
import pytest
import torch

from opdsl.data.bind.masks import MissingValues, completed, filled
from opdsl.diagnostics import OpError
from opdsl.nn.points.packed import Packed
from opdsl.workflow.datasets.reading.masks import as_mask, turned

N, CHANNELS, GRID = 3, 4, (5, 6)
RANDOM = torch.Generator().manual_seed(0)
VALUES = torch.zeros(N, CHANNELS, *GRID)


def mask(*shape):
    return torch.rand(*shape, generator=RANDOM) > 0.5


@pytest.mark.parametrize(
    ("shape", "index"),
    [
        (GRID, lambda m, _i, _c: m),
        ((N, *GRID), lambda m, i, _c: m[i]),
        ((1, *GRID), lambda m, _i, _c: m[0]),
        ((N, 1, *GRID), lambda m, i, _c: m[i, 0]),
        ((N, CHANNELS, *GRID), lambda m, i, c: m[i, c]),
        ((1, CHANNELS, *GRID), lambda m, _i, c: m[0, c]),
        ((N, 2, *GRID), lambda m, i, c: m[i, c // 2]),  # two times of two components
        ((N, 2, 1, *GRID), lambda m, i, c: m[i, c // 2, 0]),
        ((N, 2, 2, *GRID), lambda m, i, c: m[i, c // 2, c % 2]),
    ],
)
def test_a_mask_of_any_shape_is_that_of_each_value(shape, index):
    given = mask(*shape)
    found = as_mask("u", given.float().numpy(), VALUES, source="f").expand_as(VALUES)
    for i in range(N):
        for c in range(CHANNELS):
            assert torch.equal(found[i, c], index(given, i, c))


@pytest.mark.parametrize(
    "shape", [(N,), (6, 5), (N + 1, *GRID), (N, 3, *GRID), (N, *GRID, 1), (1, 1, 1, 1, *GRID)]
)
def test_a_mask_of_another_shape_is_refused(shape):
    with pytest.raises(OpError) as raised:
        as_mask("u", np.ones(shape), VALUES, source="f")
    assert [x.code for x in raised.value.diagnostics] == ["OP0681"]


@pytest.mark.parametrize("value", [0.5, 2, np.nan])
def test_a_mask_of_other_numbers_is_refused(value):
    wrong = np.ones(GRID)
    wrong[2, 3] = value
    with pytest.raises(OpError, match="expected 0 and 1"):
        as_mask("u", wrong, VALUES, source="f")
    with pytest.raises(OpError, match="expected 0 and 1"):
        as_mask("u", turned(wrong), VALUES, source="f")


def test_masks_on_points_are_packed_like_the_values():
    values = Packed.of([torch.zeros(2, 3), torch.zeros(2, 4)])
    found = as_mask("u", [np.array([1, 0, 1]), np.ones((1, 4))], values, source="f")
    assert [x.tolist() for x in found.parts] == [[[True, False, True]], [[True] * 4]]
    with pytest.raises(OpError):
        as_mask("u", [np.ones(3), np.ones(3)], values, source="f")


def test_masked_values_become_the_mean_of_the_channel_in_the_sample():
    x = torch.randn(70, 2, 8, dtype=torch.float64, generator=RANDOM)
    valid = mask(70, 1, 8)
    valid[3] = False
    wrong = torch.where(valid, x, torch.nan)
    found = filled(wrong, valid)
    for i in range(70):
        for c in range(2):
            some = x[i, c][valid[i, 0]]
            mean = some.mean() if len(some) else torch.tensor(0.0, dtype=torch.float64)
            expected = torch.where(valid[i, 0], x[i, c], mean)
            assert torch.allclose(found[i, c], expected, rtol=1e-14)
    packed = filled(Packed.of(wrong.unbind(0)), Packed.of(valid.unbind(0)))
    assert torch.equal(torch.stack(packed.parts), found)
    assert torch.equal(filled(wrong, valid, 0.5), torch.where(valid, x, 0.5))


def test_missing_values_of_predictions_are_completed_as_in_training():
    x = torch.randn(2, 3, 1, 8, generator=RANDOM)  # with steps in time
    x[0, 1, 0, :4] = torch.nan
    found = completed(x, MissingValues(masked=True), axes=1)
    assert torch.allclose(found[0, 1, 0, :4], x[0, 1, 0, 4:].mean(), rtol=1e-6)
    assert completed(x, MissingValues(), axes=1) is x
    vector = torch.tensor([[1.0, torch.nan]])
    assert completed(vector, MissingValues(masked=True), axes=0) is vector
    filled_vector = completed(vector, MissingValues(masked=True, fill=2.0), axes=0)
    assert filled_vector.tolist() == [[1.0, 2.0]]
