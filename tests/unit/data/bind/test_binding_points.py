"""Binding functions on points to a model, and what is said of points that do not fit."""

import math
from dataclasses import replace

import pytest
import torch

from opdsl import Geometry, OpError, Packed
from opdsl.data import FieldRequest, Fields, PointsRequest, bind_fields
from opdsl.nn.points.measure import quadrature_weights

SIZES = (5, 3, 7)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def packed(channels, seed=0):
    return Packed.of(random(channels, n, seed=seed + n) for n in SIZES)


def own(d=2, **more):
    return tuple(Geometry(random(n, d, seed=n), **more) for n in SIZES)


def fields(values=None, places=None, homes=None):
    """Three samples: `f` and `p` on `body`, `sdf` on a grid."""
    values = {"f": packed(2), "p": packed(1, 9), "sdf": random(3, 1, 4, 4)} | (values or {})
    homes = homes or {k: "body" for k, x in values.items() if isinstance(x, Packed)}
    return Fields(
        name="set",
        values=values,
        roles=dict.fromkeys(values, "unknown"),
        axes=("x", "y"),
        resolution=(4, 4),
        suspects=(),
        source="set.h5",
        fingerprint="0",
        places={"body": own()} if places is None else places,
        homes=homes,
    )


def on(name, channels=1, domain="P"):
    return FieldRequest(name, channels, None, 1, domain=domain, scattered=True)


SDF = FieldRequest("sdf", 1, None, 2, domain="D")
P = PointsRequest("P", 2, shared=False)


def bound(held=None, inputs=None, outputs=None, mapping=None, sites=(P,)):
    inputs = [on("f", 2), SDF] if inputs is None else inputs
    outputs = [on("p")] if outputs is None else outputs
    return bind_fields(fields() if held is None else held, inputs, outputs, mapping, sites)


def told(*arguments, **more):
    with pytest.raises(OpError) as caught:
        bound(*arguments, **more)
    return caught.value.diagnostics


def test_functions_on_points_and_on_a_grid_stand_side_by_side():
    held = fields()
    got = bound(held)
    assert got.inputs["f"].sizes == SIZES
    assert got.inputs["f"].values.equal(held.values["f"].values)
    assert got.inputs["sdf"].equal(held.values["sdf"])
    assert all(x.points.equal(y.points) for x, y in zip(got.places["P"], own(), strict=True))
    assert got.model_points.keys() == {"P"}
    assert len(got) == 3
    assert got.extent == "3 to 7 points"


@pytest.mark.parametrize(
    ("take", "rows"),
    [
        (lambda x: x.first(2), (0, 1)),
        (lambda x: x.last(2), (1, 2)),
        (lambda x: x.take([2, 0]), (2, 0)),
        (lambda x: x.first(9), (0, 1, 2)),
    ],
)
def test_samples_are_taken_with_their_points_and_weights(take, rows):
    places = {"body": tuple(Geometry(x.points, random(len(x))) for x in own())}
    whole = bound(fields(places=places))
    some = take(whole)
    assert len(some) == len(rows)
    for i, row in enumerate(rows):
        assert some.inputs["f"].parts[i].equal(whole.inputs["f"].parts[row])
        assert some.outputs["p"].parts[i].equal(whole.outputs["p"].parts[row])
        assert some.inputs["sdf"][i].equal(whole.inputs["sdf"][row])
        assert some.places["P"][i] is whole.places["P"][row]
        assert some.weights["p"].parts[i].equal(whole.places["P"][row].weights[None])


def test_shared_points_stay_one_and_their_functions_dense():
    place = Geometry(random(6, 2), weights=random(6))
    values = {"f": random(3, 2, 6), "p": random(3, 1, 6)}
    held = fields(values, {"body": (place,)}, {"f": "body", "p": "body"})
    got = bound(held, sites=(PointsRequest("P", 2, shared=True),)).last(2)
    assert got.inputs["f"].equal(values["f"][1:])
    assert got.places["P"][0].points.equal(place.points)
    assert got.weights["p"].equal(place.weights[None, None])
    assert got.extent == "6 points"


def test_points_have_no_resolution():
    with pytest.raises(OpError) as caught:
        bound().at(3)
    assert caught.value.diagnostics[0].code == "OP0614"


# ---------------------------------------------------------------------------- which points


TWO = {"body": own(), "other": own()}


def where(places, mapping=None, **more):
    got = bound(fields(places=places, **more), mapping=mapping)
    return next(k for k, x in places.items() if x[0].points.equal(got.places["P"][0].points))


def test_the_points_of_the_fields_are_the_points_of_the_domain():
    assert where({"other": own(d=2)[::-1], "body": own()}) == "body"


def test_a_set_of_the_name_of_the_domain_is_the_domain():
    homes = {"f": "P", "p": "P"}
    assert where({"other": own()[::-1], "P": own()}, homes=homes) == "P"


def test_a_domain_without_functions_takes_the_points_that_the_others_are_on():
    held = fields(places={"other": own()[::-1], "body": own()})
    got = bound(held, sites=(P, PointsRequest("Q", 2, shared=False)))
    assert got.places["Q"][0].points.equal(got.places["P"][0].points)


def test_a_set_of_samples_is_called_by_the_points_of_its_output():
    few = tuple(Geometry(random(2, 2, seed=n)) for n in SIZES)
    sites = (PointsRequest("A", 2, shared=False), P)
    assert bound(fields(places={"A": few, "body": own()}), sites=sites).extent == "3 to 7 points"


def test_a_mapping_names_points_or_a_field_that_holds_coordinates():
    held = fields({"moved": packed(2, 30)}, {"other": own()[::-1], "body": own()})
    sites = (P, PointsRequest("Q", 2, shared=False), PointsRequest("R", 2, shared=False))
    got = bound(held, mapping={"Q": "other", "R": "moved"}, sites=sites)
    assert got.places["Q"][0].points.equal(own()[-1].points)
    assert got.places["R"][1].points.equal(held.values["moved"].parts[1].T)


def test_a_domain_that_nobody_can_tell_is_asked_for():
    held = fields(places=TWO)
    (one,) = told(held, inputs=[SDF], outputs=[], sites=(P,))
    assert one.code == "OP0611"
    assert "which points is `P`? The file has `body`, `other`" in one.message
    assert one.helps[0].text == "name them: P = body"


def test_a_set_that_is_not_there_is_named_with_the_nearest():
    (one,) = told(mapping={"P": "bodi"})
    assert one.code == "OP0611"
    assert "no set of points `bodi` for `P`" in one.message
    assert "body" in one.helps[0].text


def test_coordinates_that_are_missing_are_asked_for_only_by_a_model_that_needs_them():
    values = {"f": random(3, 2, 6), "p": random(3, 1, 6)}
    held = Fields("d", values, dict.fromkeys(values, "unknown"), ("x",), (6,), (), "d.npz", "0")
    ports = {"inputs": [on("f", 2)], "outputs": [on("p")]}
    (one,) = told(held, **ports)
    assert one.code == "OP0611"
    assert "no coordinates for `P`" in one.message
    got = bound(held, **ports, sites=(PointsRequest("P", 2, shared=True, required=False),))
    assert got.places == {}


# ------------------------------------------------------------------------- what may be wrong


def change(index, **parts):
    """The geometries with one changed."""
    x = own()
    held = {"points": x[index].points} | parts
    return {"body": (*x[:index], Geometry(**held), *x[index + 1 :])}


def nan_at(index):
    points = own()[index].points.clone()
    points[1, 0] = math.nan
    return points


WRONG = [
    ({"body": own(d=3)}, "OP0613", "`body` lies in 3 dimensions, `P` of the model in 2"),
    (change(1, points=nan_at(1)), "OP0612", "coordinates that are not finite, 1 in sample 1"),
    (
        change(2, weights=torch.full((7,), math.inf)),
        "OP0612",
        "weights that are not finite, 7 in sample 2",
    ),
    (change(0, weights=-torch.ones(5)), "OP0613", "weights of sample 0 on `body` are negative"),
    (
        change(1, cells=torch.tensor([[0, 1, 3]])),
        "OP0613",
        "cells of sample 1 on `body` name point 3",
    ),
    (
        change(1, edges=torch.tensor([[0, -1]])),
        "OP0613",
        "edges of sample 1 on `body` name point -1",
    ),
    ({"body": own()[:2]}, "OP0613", "`f` has 3 samples, `body` has points for 2"),
    (
        {"body": (*own()[:2], Geometry(random(6, 2)))},
        "OP0613",
        "in sample 2, `f` has 7 values, `body` 6 points",
    ),
]


@pytest.mark.parametrize(("places", "code", "words"), WRONG)
def test_points_that_do_not_fit_are_refused(places, code, words):
    found = told(fields(places=places))
    assert found[0].code == code
    assert any(words in x.message for x in found)


def test_a_sample_without_points_is_refused():
    values = {"sdf": random(3, 1, 4, 4)}
    held = fields(places={"body": (*own()[:2], Geometry(torch.zeros(0, 2)))})
    held = Fields(
        "s", values, {"sdf": "unknown"}, ("x", "y"), (4, 4), (), "s.h5", "0", places=held.places
    )
    (one,) = told(held, inputs=[SDF], outputs=[])
    assert one.code == "OP0613"
    assert "sample 2 has no points on `body`" in one.message


def test_points_of_each_sample_for_a_shared_domain_are_refused():
    (one,) = told(sites=(PointsRequest("P", 2, shared=True),))
    assert one.code == "OP0613"
    assert "geometry = per_sample" in one.helps[0].text


def test_values_that_are_not_finite_are_told_with_their_sample():
    f = packed(2)
    f.values[0, 1, 6] = math.nan
    (one,) = told(fields({"f": f}))
    assert one.code == "OP0612"
    assert "`f` holds 1 value not finite, first in sample 1" in one.message


def test_a_field_on_a_grid_is_no_function_on_points_and_the_reverse():
    (one,) = told(mapping={"f": "sdf"})
    assert "`sdf` is on a grid, `f` of the model on points" in one.message
    (one,) = told(mapping={"sdf": "p"})
    assert "`p` is on the points `body`, `sdf` on no points" in one.message
    assert "`f` and `p` on the points `body`; `sdf` on 4 x 4 points" in one.notes[0]


def test_fields_of_two_sets_on_one_domain_are_refused():
    held = fields(places=TWO, homes={"f": "body", "p": "other"})
    (one,) = told(held)
    assert one.code == "OP0613"
    assert "`f` is on `body`, `p` is on `other`" in one.message


def test_the_volumes_of_points_are_the_shares_of_their_cells():
    square = torch.tensor([[0.0, 0], [2, 0], [2, 2], [0, 2]])
    place = Geometry(square, cells=torch.tensor([[0, 1, 2], [0, 2, 3]]))
    values = {"f": random(3, 2, 4), "p": random(3, 1, 4)}
    held = fields(values, {"body": (place,)}, {"f": "body", "p": "body"})
    got = bound(held).weights["p"]
    third = 2 / 3  # of each triangle, whose area is 2
    torch.testing.assert_close(got, torch.tensor([[[2 * third, third, 2 * third, third]]]))


def test_cells_without_a_size_are_told_with_their_file_and_sample():
    places = own(cells=torch.tensor([[0, 1, 2]]))
    flat = replace(places[1], points=places[1].points * torch.tensor([1.0, 0.0]))
    (one,) = told(fields(places={"body": (places[0], flat, places[2])}))
    assert (one.code, one.file) == ("OP0910", "set.h5, sample 1 of `P`")


def test_points_stand_for_what_the_program_declares():
    held = fields()
    got = bound(held, sites=(PointsRequest("P", 2, shared=False, measure="voronoi"),)).weights["p"]
    for part, place in zip(got.parts, held.places["body"], strict=True):
        torch.testing.assert_close(part[0], quadrature_weights(place, "voronoi"))
    assert bound(held, sites=(PointsRequest("P", 2, shared=False, measure="given"),)).weights == {}


def test_shared_points_of_packed_functions_have_weights_for_each_sample():
    values = {k: Packed.of(random(c, 6, seed=s) for s in range(3)) for k, c in (("f", 2), ("p", 1))}
    place = Geometry(random(6, 2), weights=random(6))
    got = bound(fields(values, {"body": (place,)})).weights["p"]
    assert got.sizes == (6, 6, 6)
    assert all(x[0].equal(place.weights) for x in got.parts)
