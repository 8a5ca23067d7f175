"""Lists of dictionaries of tensors: what is points, what a function on them, what a grid."""

from pathlib import Path

import pytest
import torch

from opdsl import OpError, Packed
from opdsl.data import FieldRequest, PointsRequest, bind_fields, open_dataset

PUBLISHED = Path(__file__).parents[5] / "shared/data/neuraloperator"
CARS = PUBLISHED / "mini_car.pt"
TRANSPORTED = PUBLISHED / "ot_expand3.0_reg1e-06_train2_test1.pt"
here = pytest.mark.skipif(not CARS.exists(), reason="the published data are not on this machine")


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def sample(n, m, seed=0):
    """n vertices with two functions, m triangles with areas, a grid, a vector."""
    return {
        "vertices": random(n, 3, seed=seed),
        "normals": random(n, 3, seed=seed + 1),
        "press": random(1, n, seed=seed + 2),
        "temperature": random(n, seed=seed + 3),
        "centroids": random(m, 3, seed=seed + 4),
        "triangle_areas": random(m, seed=seed + 5),
        "triangles": torch.randint(n, (m, 3), generator=torch.Generator().manual_seed(seed)),
        "edge_index": torch.stack((torch.arange(n - 1), torch.arange(1, n))),
        "distance": random(6, 7, 8, 1, seed=seed + 6),
        "velocity": random(2, 6, 7, 8, seed=seed + 7),
        "level": random(6, 7, 8, seed=seed + 8),
        "speed": random(2, seed=seed + 9),
        "drag": torch.tensor(0.3),
    }


def held(tmp_path, parts=None, **more):
    parts = [sample(5, 9), sample(6, 7, 20)] if parts is None else parts
    torch.save(parts, tmp_path / "a.pt")
    return open_dataset(tmp_path / "a.pt", **more)


def test_points_are_found_by_their_names_and_their_functions_by_their_number(tmp_path):
    a, b = sample(5, 9), sample(6, 7, 20)
    found = held(tmp_path)
    assert found.places.keys() == {"vertices", "centroids"}
    on_vertices = {"normals", "press", "temperature"}
    assert {k for k, x in found.homes.items() if x == "vertices"} == on_vertices
    assert found.homes["triangle_areas"] == "centroids"
    for name, parts in (
        ("normals", (a["normals"].T, b["normals"].T)),
        ("press", (a["press"], b["press"])),
        ("temperature", (a["temperature"][None], b["temperature"][None])),
    ):
        value = found.values[name]
        assert isinstance(value, Packed)
        assert all(x.equal(y) for x, y in zip(value.parts, parts, strict=True))


def test_areas_are_the_weights_of_the_points_that_they_are_as_many_as(tmp_path):
    found = held(tmp_path)
    assert found.places["vertices"][0].weights is None
    assert found.places["centroids"][1].weights.equal(sample(6, 7, 20)["triangle_areas"])


def test_cells_and_edges_are_numbers_of_the_first_points(tmp_path):
    place = held(tmp_path).places["vertices"][1]
    b = sample(6, 7, 20)
    assert place.cells.equal(b["triangles"])
    assert place.edges.equal(b["edge_index"].T)
    assert held(tmp_path).places["centroids"][0].cells is None


def test_grids_have_channels_last_or_first_or_none(tmp_path):
    a, found = sample(5, 9), held(tmp_path)
    assert found.values["distance"][0].equal(a["distance"].movedim(-1, 0))
    assert found.values["velocity"][0].equal(a["velocity"])
    assert found.values["level"][0].equal(a["level"][None])
    assert found.values["speed"].shape == (2, 2)
    assert found.values["drag"].shape == (2, 1)
    assert found.resolution == (6, 7, 8)


def test_points_as_many_as_a_grid_has_are_that_grid(tmp_path):
    def one(seed):
        return {
            "target": random(9, 3, seed=seed),
            "source": random(30, 3, seed=seed + 1),
            "normal": random(5, 6, 3, seed=seed + 2)[..., :2],
            "index": torch.arange(30),
        }

    found = held(tmp_path, [one(0) | {"u": random(9)}, one(5) | {"u": random(9)}])
    assert found.places.keys() == {"target"}
    assert found.values["source"].shape == (2, 3, 5, 6)
    assert found.values["source"][0, :, 1, 2].equal(one(0)["source"][1 * 6 + 2])
    assert found.values["index"][1, 0, 4, 5] == 29


def test_what_fits_nothing_is_left_out(tmp_path):
    odd = [sample(5, 9) | {"odd": random(4)}, sample(6, 7) | {"odd": random(8)}]
    assert "odd" not in held(tmp_path, odd).values


def test_the_first_samples_can_be_read_alone(tmp_path):
    found = held(tmp_path, samples=1)
    assert len(found.values["press"]) == 1
    assert len(found.places["vertices"]) == 1


BAD = [
    ([], "the list has no samples"),
    ([sample(5, 9), {}], "samples 0 and 1 differ"),
    ([sample(5, 9), 3], "a list of int, not of dictionaries"),
    ([{"name": random(2)}, {"name": random(3)}], "none of its tensors is a function"),
    (
        [sample(5, 9), sample(6, 7) | {"press": random(1, 4)}],
        r"in sample 1, `press` is \(1, 4\), and `vertices` has 6 points",
    ),
    ([sample(5, 9), sample(6, 7) | {"vertices": random(0, 3)}], "sample 1 has no points"),
]


@pytest.mark.parametrize(("samples", "words"), BAD)
def test_a_list_that_cannot_be_read_says_why(tmp_path, samples, words):
    with pytest.raises(OpError, match=words) as caught:
        held(tmp_path, samples)
    assert caught.value.diagnostics[0].code in {"OP0610", "OP0613"}


def test_points_have_no_resolution(tmp_path):
    with pytest.raises(OpError) as caught:
        held(tmp_path, resolution=3)
    assert caught.value.diagnostics[0].code == "OP0614"


# ------------------------------------------------------------------------------ published data


@here
def test_the_published_cars_are_read():
    found = open_dataset(CARS)
    raw = torch.load(CARS, weights_only=True)
    assert found.homes["press"] == found.homes["vertex_normals"] == "vertices"
    assert found.homes["triangle_normals"] == "centroids"
    assert found.values["press"].sizes == (3586,) * 3
    assert found.values["press"].parts[2].equal(raw[2]["press"])
    assert found.values["distance"][1, 0].equal(raw[1]["distance"][..., 0])
    assert found.places["centroids"][0].weights.equal(raw[0]["triangle_areas"])
    press = FieldRequest("press", 1, None, 1, domain="Q", scattered=True)
    distance = FieldRequest("distance", 1, None, 3, domain="L")
    sites = [PointsRequest("P", 3, shared=False), PointsRequest("Q", 3, shared=False)]
    got = bind_fields(found, [distance], [press], None, sites)
    assert all(got.places[k][1].points.equal(raw[1]["vertices"]) for k in "PQ")


@here
def test_the_published_transports_are_read():
    found = open_dataset(TRANSPORTED)
    raw = torch.load(TRANSPORTED, weights_only=True)
    assert found.places.keys() == {"target"}
    press = raw[0]["press"]
    assert found.values["press"].parts[0][0].equal(torch.cat((press[:16], press[112:])))
    assert found.values["trans"].shape == (3, 3, 103, 103)
    assert found.values["nor_s"][0, 1].equal(raw[0]["nor_s"][..., 1])
    nearest = raw[2]["target"][raw[2]["ind_enc"]]  # what was transported where
    assert torch.equal(found.values["trans"][2].flatten(1).T, nearest)
    assert found.values["ind_dec"].parts[1][0].equal(raw[1]["ind_dec"])
