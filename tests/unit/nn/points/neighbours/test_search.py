"""Neighbours by a tree and by cells, against all distances in float64."""

import math

import pytest
import torch

from opdsl import Geometry, OpError
from opdsl.nn import byte_lru_cache
from opdsl.nn.points.neighbours import cell_list, kd_tree
from opdsl.nn.points.neighbours import search as neighbours
from opdsl.nn.points.neighbours.search import NeighbourRule, batch_pairs, search

KINDS = {"tree": kd_tree.KdTree, "cells": cell_list.CellList}


def cloud(*shape: int, seed: int = 1):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def clustered(n: int, d: int, seed: int = 1):
    """Clusters whose sizes are seven decades apart."""
    far = torch.logspace(-7, 0, 8, dtype=torch.float64)[torch.arange(n) % 8]
    return 0.3 + far[:, None] * (cloud(n, d, seed=seed) - 0.5)


def lattice(d: int, n: int = 7):
    line = torch.linspace(0, 1, n, dtype=torch.float64)
    return torch.cartesian_prod(*[line] * d).reshape(-1, d)


@pytest.fixture(params=KINDS)
def way(request, monkeypatch):
    """Both ways to search, in blocks of a few pairs."""
    monkeypatch.setattr(neighbours, "KdTree", KINDS[request.param])
    monkeypatch.setattr(cell_list, "MAX_CANDIDATES", 300)
    monkeypatch.setattr(kd_tree, "MAX_PAIRS_PER_BLOCK", 300)


def distances(points, queries, period=None):
    apart = (queries[:, None] - points[None]).abs()
    for i, p in enumerate(period or ()):
        if p is not None:
            apart[..., i] = torch.minimum(apart[..., i] % p, p - apart[..., i] % p)
    return apart.square().sum(-1).sqrt()


def matrix(found, queries, points):
    """Whether (query, point) is a pair, and that pairs are sorted and counted."""
    key = found.queries * points + found.points
    assert (key.diff() > 0).all()
    assert torch.equal(found.counts, torch.bincount(found.queries, minlength=queries))
    assert torch.equal(found.rows, torch.tensor([0, *found.counts.cumsum(0).tolist()]))
    near = torch.zeros(queries * points, dtype=torch.bool)
    near[key] = True
    return near.reshape(queries, points)


def of_all_distances(far, rule):
    """The rule, word for word, in the matrix of distances."""
    touch = 1 + 1e-6
    near = torch.ones_like(far, dtype=torch.bool)
    if rule.radius is not None:
        near &= far <= rule.radius * touch
    if rule.count is not None:
        last = far.sort(1).values[:, min(rule.count, far.shape[1]) - 1, None]
        tied = (far <= last * touch) & (far * touch >= last)
        inner = (far < last) & ~tied
        room = rule.count - inner.sum(1, keepdim=True)
        near &= inner | (tied & (tied.cumsum(1) <= room))
    return near


CLOUDS = {
    "random": lambda d: (cloud(150, d), cloud(40, d, seed=2)),
    "clustered": lambda d: (clustered(160, d), clustered(40, d, seed=2)),
    "lattice": lambda d: (lattice(d, 5 + (4 - d) ** 2), lattice(d, 4) / 2),
    "outside": lambda d: (cloud(50, d), 8 * cloud(30, d, seed=2) - 4),
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("periodic", [(), (0,), (0, 1, 2)])
@pytest.mark.parametrize(("radius", "count"), [(7.0, None), (0.5, None), (None, 7), (2.0, 7)])
def test_neighbours_are_those_of_all_distances(d, name, periodic, radius, count):
    points, queries = CLOUDS[name](d)
    period = tuple(1.25 if i in periodic else None for i in range(d))
    far = distances(points, queries, period)
    # not one of the distances that occur, so that both ways agree on what is nearer
    radius = radius and radius / 7 * far.max().item()
    rule = NeighbourRule(radius, count, period, nearest=True)
    found = matrix(search(points, queries, rule), len(queries), len(points))
    expected = of_all_distances(far, rule)
    alone = ~expected.any(1)
    expected[alone] = of_all_distances(far, NeighbourRule(None, 1))[alone]
    assert torch.equal(found, expected)


@pytest.mark.usefixtures("way")
def test_five_dimensions_are_cut_on_three():
    points, queries = cloud(200, 5), cloud(40, 5, seed=2)
    found = matrix(search(points, queries, NeighbourRule(0.6, nearest=True)), 40, 200)
    far = distances(points, queries)
    expected = far <= torch.maximum(far.min(1).values, torch.tensor(0.6))[:, None]
    assert torch.equal(found, expected)


@pytest.mark.usefixtures("way")
def test_a_point_of_a_periodic_space_is_seen_at_its_nearest_image():
    points, queries = 5 * cloud(200, 2) - 2, 3 * cloud(50, 2, seed=2)
    found = search(points, queries, NeighbourRule(0.3, period=(1.0, None), nearest=True))
    moved = points[found.points] + found.shifts[found.images]
    apart = (moved - queries[found.queries]).norm(dim=1)
    far = distances(points, queries, (1.0, None))
    torch.testing.assert_close(apart, far[found.queries, found.points])
    assert torch.equal(found.shifts, found.shifts.round())
    assert (found.shifts[:, 1] == 0).all()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_a_grid_points_at_exactly_the_radius_are_neighbours(dtype):
    line = torch.linspace(0, 1, 11, dtype=dtype)[:, None]
    assert search(line, line, NeighbourRule(0.2)).counts.tolist() == [3, 4, *[5] * 7, 4, 3]
    ring = search(line[:-1], line, NeighbourRule(0.2, period=(1.0,)))
    assert ring.counts.tolist() == [5] * 11


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_points_equally_far_those_with_lower_numbers_are_taken(dtype):
    line = torch.linspace(0, 1, 11, dtype=dtype)[:, None]
    found = search(line, line[[5]], NeighbourRule(None, count=2))
    assert found.points.tolist() == [4, 5]
    same = torch.full((20, 2), 0.3, dtype=dtype)
    assert search(same, same[:1], NeighbourRule(None, count=3)).points.tolist() == [0, 1, 2]


def test_a_point_behind_the_ball_counts_where_it_is_as_far_as_the_last(monkeypatch):
    monkeypatch.setattr(neighbours, "KdTree", cell_list.CellList)
    monkeypatch.setattr(cell_list.CellList, "_dense", lambda *_: 1.0)
    points = torch.tensor([[1 + 5e-7], [-1.0], [3.0]], dtype=torch.float64)
    assert search(points, torch.zeros(1, 1), NeighbourRule(None, count=1)).points.tolist() == [0]


@pytest.mark.usefixtures("way")
def test_no_queries_have_no_neighbours():
    for rule in (
        NeighbourRule(0.1),
        NeighbourRule(None, count=3),
        NeighbourRule(0.1, period=(1.0, None)),
    ):
        found = search(cloud(5, 2), cloud(0, 2), rule)
        assert len(found) == len(found.queries) == len(found.counts) == 0
        assert found.rows.tolist() == [0]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("count", [None, 3])
def test_queries_may_be_allowed_to_have_none(count):
    line = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    found = search(line, 2 * line, NeighbourRule(0.15, count, allow_isolated=True))
    assert found.counts.tolist() == [2, 3, 3, 3, 3, 2, 0, 0, 0, 0, 0]


# --- refused


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("far", [1.0, 0.37123, 41.9])
def test_a_query_without_neighbours_is_an_error_with_a_radius_that_would_do(far):
    points, queries = torch.zeros(3, 2), torch.full((5, 2), far)
    queries[0] = 0
    with pytest.raises(OpError) as caught:
        search(points, queries, NeighbourRule(0.01))
    found = caught.value.diagnostics[0]
    assert found.code == "OP0908"
    assert "4 of 5" in found.message
    assert "radius 0.01" in found.message
    advised = float(found.helps[0].text.split()[-1])
    assert advised == pytest.approx(far * math.sqrt(2), rel=2e-3)
    assert search(points, queries, NeighbourRule(advised)).counts.tolist() == [3] * 5


def refused(points, queries, rule):
    with pytest.raises(OpError) as caught:
        search(points, queries, rule)
    (found,) = caught.value.diagnostics
    return found


def test_coordinates_that_are_no_numbers_are_refused():
    points = cloud(3, 2)
    points[1, 0] = torch.nan
    found = refused(points, cloud(1, 2), NeighbourRule(1.0))
    assert found.code == "OP0612"
    assert "1 of 3 points" in found.message
    assert refused(cloud(1, 2), points, NeighbourRule(1.0)).code == "OP0612"


def test_a_sample_without_points_is_refused():
    assert refused(cloud(0, 2), cloud(4, 2), NeighbourRule(1.0)).code == "OP0907"


def test_more_neighbours_than_there_are_points_are_refused():
    found = refused(cloud(5, 2), cloud(4, 2), NeighbourRule(None, count=6))
    assert found.code == "OP0908"
    assert "6 neighbours" in found.message
    assert "there are 5 points" in found.message
    assert search(cloud(5, 2), cloud(4, 2), NeighbourRule(9.0, count=6)).counts.tolist() == [5] * 4


@pytest.mark.usefixtures("way")
def test_a_radius_that_catches_more_pairs_than_have_room_is_refused(monkeypatch):
    monkeypatch.setattr(neighbours, "MAX_PAIRS", 100_000)
    points = cloud(1000, 2)
    found = refused(points, points, NeighbourRule(2.0))
    assert found.code == "OP0909"
    assert "1e+06 pairs of 1000 points and 1000 queries" in found.message
    advised = float(found.helps[0].text.split()[4])
    counts = search(points, points, NeighbourRule(advised)).counts
    assert 24 < counts.double().mean().item() < 40


@pytest.mark.slow
def test_more_pairs_than_float32_can_count_are_counted():
    points = cloud(4200, 2)
    found = search(points, points, NeighbourRule(2.0))
    assert len(found) == 4200**2 > 2**24 + 1
    assert found.rows[-1].item() == 4200**2
    assert (found.counts == 4200).all()
    assert (found.points.reshape(4200, 4200) == torch.arange(4200)).all()


# --- kept


@pytest.fixture
def searches(monkeypatch):
    """The rule of each search."""
    seen, whole = [], neighbours.search
    monkeypatch.setattr(neighbours, "search", lambda p, q, r: (seen.append(r), whole(p, q, r))[1])
    neighbours.PAIR_CACHE.clear()
    return seen


def test_a_geometry_is_searched_once_for_each_rule(searches):
    points, queries = Geometry(cloud(30, 2)), Geometry(cloud(9, 2, seed=2))
    first = neighbours.neighbours(points, queries, NeighbourRule(0.9))
    again = Geometry(points.points.clone())
    assert neighbours.neighbours(again, queries, NeighbourRule(0.9)) is first
    assert neighbours.neighbours(again, queries, NeighbourRule(0.8)) is not first
    assert neighbours.neighbours(queries, again, NeighbourRule(0.9)) is not first
    assert neighbours.neighbours(points, points, NeighbourRule(0.9)) is not first
    assert len(searches) == 4


def test_what_was_not_asked_for_longest_is_forgotten_first():
    made = []
    store = byte_lru_cache.ByteLRUCache(lambda x: (x, None), most=100)

    def get(key):
        return store.get(key, lambda: (made.append(key), torch.zeros(5))[1])  # 20 bytes

    for key in [*range(5), 0, 5, 0, 2, 1]:
        get(key)
    assert made == [0, 1, 2, 3, 4, 5, 1]
    assert store.bytes == 100
    large = store.get("large", lambda: torch.zeros(1000))
    assert store.get("large", list) is large
    assert len(store.held) == 1


def test_what_is_found_in_inference_mode_serves_a_gradient():
    points, weight = cloud(30, 2), torch.ones(30, requires_grad=True)
    with torch.inference_mode():
        found = search(points, points, NeighbourRule(0.3, period=(1.0, 1.0)))
    (weight[found.points] * found.queries).sum().backward()
    assert not any(getattr(found, x).is_inference() for x in ("points", "rows", "images"))


@pytest.mark.parametrize("period", [None, (1.0, None)])
def test_the_pairs_of_a_batch_are_those_of_its_samples(period):
    sizes, asked = (30, 9, 50), (7, 8, 3)
    points = [cloud(n, 2, seed=i) + torch.tensor([i, 0]) for i, n in enumerate(sizes)]
    queries = [cloud(n, 2, seed=i + 9) for i, n in enumerate(asked)]
    rule = NeighbourRule(0.9, period=period, nearest=True)
    each = [search(p, q, rule) for p, q in zip(points, queries, strict=True)]
    found = batch_pairs(each, sizes, asked)
    assert (found.queries.diff() >= 0).all()
    assert torch.equal(found.counts, torch.bincount(found.queries))
    assert torch.equal(found.rows.diff(), found.counts)
    at, y, x = 0, torch.cat(points), torch.cat(queries)
    for p, q, one in zip(points, queries, each, strict=True):
        part = slice(at, at + len(one))
        assert torch.equal(y[found.points[part]], p[one.points])
        assert torch.equal(x[found.queries[part]], q[one.queries])
        if period:
            assert torch.equal(found.shifts[found.images[part]], one.shifts[one.images])
        at += len(one)
    assert at == len(found)
