"""Optimal transport to a torus: assignments of another solver, and the published cars."""

import builtins
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from opdsl.data.derive import transport as ours
from opdsl.data.derive.transport import normals_of, side, torus_normals, torus_points, transport
from opdsl.data.generate.sampling.blob import Blob
from opdsl.diagnostics import OpError

PUBLISHED = Path(__file__).parents[5] / "shared/data/neuraloperator"
CARS = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published cars are not here")


def cloud(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3))


@pytest.mark.parametrize("size", [4, 9])
def test_as_many_points_as_the_grid_has_are_assigned_as_by_another_solver(size):
    points = cloud(size * size)
    squares = cdist(torus_points(size).reshape(-1, 3), points, "sqeuclidean")
    rows, columns = linear_sum_assignment(squares)
    found = transport(points, size=size)
    assert found.encode.tolist() == columns.tolist()
    assert found.decode[columns].tolist() == rows.tolist()
    assert found.cost == pytest.approx(squares[rows, columns].mean(), rel=1e-12)
    assert found.missed == 0


def test_a_plan_to_fewer_points_costs_what_assigning_copies_of_them_costs():
    """16 points of the grid for each point: the masses split evenly, so copies are as good."""
    size, points = 8, cloud(4)
    squares = cdist(torus_points(size).reshape(-1, 3), np.repeat(points, 16, 0), "sqeuclidean")
    rows, columns = linear_sum_assignment(squares)
    found = transport(points, size=size)
    assert found.cost == pytest.approx(squares[rows, columns].mean(), rel=1e-12)
    assert np.bincount(found.encode).tolist() == [16] * 4
    assert found.encode.tolist() == (columns // 16).tolist()


def test_moving_and_scaling_the_points_changes_no_index():
    points = cloud(60)
    a, b = transport(points), transport(30 * points + [5, -7, 100])
    assert a.encode.tolist() == b.encode.tolist()
    assert a.decode.tolist() == b.decode.tolist()


def test_each_point_finds_its_way_to_the_grid_and_back():
    points, _ = Blob(np.zeros(0)).triangulate(0.2)
    found = transport(points)
    assert found.size == side(len(points))
    assert found.missed == 0
    assert (found.encode[found.decode] == np.arange(len(points))).all()


def test_latent_coordinates_are_those_of_the_grid_point():
    points = cloud(25)
    found = transport(points, size=5)
    theta, phi = 2 * np.pi * found.latent.T
    ring = 1 + 0.5 * np.cos(theta)
    there = np.stack([ring * np.cos(phi), ring * np.sin(phi), 0.5 * np.sin(theta)], 1)
    assert there == pytest.approx(torus_points(5).reshape(-1, 3)[found.decode])


@pytest.mark.parametrize(("points", "n"), [(3586, 103), (100, 17), (1, 2)])
def test_the_grid_has_three_points_for_each_as_published(points, n):
    assert side(points) == n


def test_normals_of_the_torus_are_those_of_its_tangents():
    size, h = 12, 1e-6
    turn = 2 * np.pi * np.arange(size) / size
    theta, phi = np.meshgrid(turn, turn, indexing="ij")

    def at(t, p):
        ring = 1 + 0.5 * np.cos(t)
        return np.stack([ring * np.cos(p), ring * np.sin(p), 0.5 * np.sin(t)], -1)

    a, b = at(theta + h, phi) - at(theta - h, phi), at(theta, phi + h) - at(theta, phi - h)
    inwards = np.cross(a, b)
    inwards /= np.linalg.norm(inwards, axis=-1, keepdims=True)
    assert torus_normals(size) == pytest.approx(inwards, abs=1e-8)


def test_normals_of_a_sphere_are_its_points():
    points, cells = Blob(np.zeros(0)).triangulate(0.1)
    assert normals_of(points, cells) == pytest.approx(points, abs=0.03)
    more = np.concatenate([points, [[9.0, 9, 9]]])
    assert not normals_of(more, cells)[-1].any()


# --- mistakes -----------------------------------------------------------------------------------


def refused(code, *arguments, **options):
    with pytest.raises(OpError) as caught:
        transport(*arguments, **options)
    (one,) = caught.value.diagnostics
    assert one.code == code
    return one


def test_points_of_the_plane_are_refused():
    assert "(5, 2)" in refused("OP0618", np.zeros((5, 2))).message


def test_more_points_than_there_is_room_for_are_refused(monkeypatch):
    monkeypatch.setattr(ours, "data_budget", lambda: 1 << 20)
    assert "the plan of the transport" in refused("OP0610", cloud(100)).message


def test_a_solver_that_gives_up_is_told(monkeypatch):
    monkeypatch.setattr(ours, "PIVOTS", 3)
    with pytest.warns(UserWarning, match="numItermax"):
        refused("OP0617", cloud(50))


def test_without_the_package_it_is_said_how_to_install_it(monkeypatch):
    true = builtins.__import__

    def no_pot(name, *rest):
        if name == "ot":
            raise ImportError(name)
        return true(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_pot)
    assert "opdsl[transport]" in refused("OP0645", cloud(4)).helps[0].text


# --- the cars that neuraloperator publishes -----------------------------------------------------


@CARS
def test_the_published_torus_and_features_are_ours():
    for car in published():
        assert torus_points(103).reshape(-1, 3) == pytest.approx(car["source"].numpy(), abs=1e-6)
        assert torus_normals(103) == pytest.approx(car["nor_s"].numpy(), abs=1e-6)
        there = car["target"][car["ind_enc"]]
        assert torch.equal(there, car["trans"])


@CARS
@pytest.mark.slow
def test_a_published_car_is_carried_at_less_cost_than_published():
    car = published()[0]
    points, torus = car["target"].double().numpy(), car["source"].double().numpy()
    found = transport(points)
    assert found.size == 103
    assert found.missed == 0
    cost = ((torus - points[found.encode]) ** 2).sum(1).mean()
    theirs = ((torus - points[car["ind_enc"].numpy()]) ** 2).sum(1).mean()
    assert cost < 0.95 * theirs
    assert cost == pytest.approx(found.cost, rel=1e-3)
    assert (found.encode == car["ind_enc"].numpy()).mean() > 0.5


def published():
    return torch.load(PUBLISHED / "ot_expand3.0_reg1e-06_train2_test1.pt", weights_only=True)
