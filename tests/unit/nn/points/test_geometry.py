"""Points of a domain and functions on as many of them as each sample has."""

import numpy as np
import pytest
import torch

from opdsl import Geometry, OpError, Packed
from opdsl.nn.points.digest import digest, digests
from opdsl.nn.points.geometry import (
    as_geometries,
    concat_coordinates,
    point_counts,
    stack_coordinates,
)


def _points(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(seed))


def test_the_same_coordinates_have_the_same_key_and_others_another():
    x = _points(50)
    assert Geometry(x).key == Geometry(x.clone(), weights=torch.ones(50)).key
    assert Geometry(x).key != Geometry(x.double()).key
    moved = x.clone()
    moved[7, 1] = torch.nextafter(moved[7, 1], torch.tensor(2.0))
    assert Geometry(x).key != Geometry(moved).key


@pytest.mark.parametrize("first", range(5))
def test_a_part_of_a_tensor_has_the_key_of_a_copy(first):
    part = _points(50)[first : first + 20]
    assert Geometry(part).key == Geometry(part.clone()).key


def test_weights_for_other_points_are_refused():
    with pytest.raises(OpError) as error:
        Geometry(_points(5), weights=torch.ones(4))
    assert error.value.diagnostics[0].code == "OP0907"
    assert "`weights` of a geometry has the shape (4,)" in error.value.diagnostics[0].message


@pytest.mark.parametrize("cells", [torch.zeros(3), torch.zeros(3, 2, 1)])
def test_cells_are_rows_of_numbers(cells):
    with pytest.raises(OpError, match="`cells` of a geometry"):
        Geometry(_points(5), cells=cells.long())


@pytest.mark.parametrize("given", [{"points": [[0.0, 1]]}, {"cells": np.zeros((1, 3))}])
def test_what_is_no_tensor_is_refused(given):
    with pytest.raises(OpError, match="of a geometry is not a tensor but") as error:
        Geometry(**{"points": _points(5)} | given)
    assert error.value.diagnostics[0].code == "OP0904"


def test_points_are_given_for_all_samples_or_for_each():
    x = _points(6)
    assert point_counts(as_geometries(x)) == (6,)
    assert point_counts(as_geometries(torch.stack((x, x)))) == (6, 6)
    assert point_counts(as_geometries([x, Geometry(x[:4])])) == (6, 4)
    assert stack_coordinates(as_geometries(torch.stack((x, 2 * x))), x).equal(
        torch.stack((x, 2 * x))
    )
    assert concat_coordinates(as_geometries([x, x[:4]]), x).equal(torch.cat((x, x[:4]))[None])


def test_a_pack_gives_back_its_samples():
    parts = [_points(n, n).T for n in (4, 1, 7)]
    packed = Packed.of(parts)
    assert packed.sizes == (4, 1, 7)
    assert all(a.equal(b) for a, b in zip(packed.parts, parts, strict=True))
    some = packed.take(torch.tensor((2, 0)))
    assert some.sizes == (7, 4)
    assert some.parts[0].equal(parts[2])


@pytest.mark.parametrize(
    ("values", "sizes", "code"),
    [((1, 2, 5), (2, 2), "OP0906"), ((1, 2, 5), (5, 0), "OP0906"), ((2, 2, 5), (5,), "OP0901")],
)
def test_a_pack_whose_sizes_do_not_fit_is_refused(values, sizes, code):
    with pytest.raises(OpError) as error:
        Packed(torch.zeros(values), sizes)
    assert error.value.diagnostics[0].code == code


def test_samples_with_other_channels_make_no_pack():
    with pytest.raises(OpError, match=r"a sample has the shape \(3, 4\)"):
        Packed.of([torch.zeros(2, 4), torch.zeros(3, 4)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 3, 2), (4, 1, 1), (3, 7, 3), (2, 9000, 2)])
def test_digests_of_many_are_those_of_each(shape, dtype):
    x = torch.randn(shape, dtype=dtype)
    assert digests(x) == [digest(y) for y in x]
