"""Prediction files: one array for each output, with its times, coordinates and boundaries."""

import h5py
import numpy as np
import pytest
import torch

import opdsl
from opdsl.data.bind.samples import Samples
from opdsl.data.io.well_writing import WellLayout, write_well
from opdsl.nn.points.geometry import Geometry
from opdsl.workflow.runs.prediction import predict_file
from opdsl.workflow.runs.prediction_files import write_h5, write_points

MODEL = """edition 2026

model M {{
  domain D = {domain}
  input a : {on} -> R^2
  output u : {on} -> R^2

  u = a |> linear(out = 2)
}}
"""


def graph_of(domain):
    return opdsl.compile(MODEL.format(domain=domain, on="D * Y" if "Y" in domain else "D")).graph


def write(path, domain, grid, times=None, layout="node"):
    lead = (3,) if times is None else (3, len(times))
    values = torch.rand(*lead, 2, *grid)
    write_h5(path, graph_of(domain), iter([{"u": values}]), 3, layout, times=times)
    return values


def test_steps_in_time_are_one_axis_of_one_array(tmp_path):
    times = np.array([0.1, 0.2, 0.3, 0.4])
    u = write(tmp_path / "p.h5", "grid(x: 0..1, y: 0..1)", (6, 5), times)
    with h5py.File(tmp_path / "p.h5") as file:
        assert list(file["t0_fields"]) == ["u_0", "u_1"]
        assert np.array_equal(file["t0_fields/u_1"][()], u[:, :, 1].numpy())
        assert file["dimensions/time"][()] == pytest.approx(times)
    fields = opdsl.open_dataset(tmp_path / "p.h5")
    assert fields.times["u_0"] == pytest.approx(times)
    assert torch.equal(fields.values["u_0"], u[:, :, 0])


def test_a_single_step_has_no_times(tmp_path):
    u = write(tmp_path / "p.h5", "grid(x: 0..1, y: 0..1)", (6, 5))
    fields = opdsl.open_dataset(tmp_path / "p.h5")
    assert dict(fields.times) == {}
    assert torch.equal(fields.values["u_1"], u[:, 1:])


def test_each_end_of_each_axis_is_stated(tmp_path):
    domain = (
        "interval(x: 0..1, boundary = dirichlet..none)\n"
        "  domain Y = interval(y: 0..1, boundary = periodic)"
    )
    write(tmp_path / "p.h5", domain, (6, 5))
    with h5py.File(tmp_path / "p.h5") as file:
        assert set(file["boundary_conditions"]) == {"x_wall", "x_open", "y_periodic"}
        assert file["boundary_conditions/x_wall/mask"][()].tolist() == [True] + [False] * 5


def test_a_sphere_has_latitudes_from_north_to_south_in_degrees(tmp_path):
    write(tmp_path / "p.h5", "sphere(lat, lon, sampling = equiangular)", (5, 8))
    with h5py.File(tmp_path / "p.h5") as file:
        assert file.attrs["grid_type"] == "spherical"
        assert file["dimensions/lat"][()] == pytest.approx([90, 45, 0, -45, -90], abs=1e-4)
        assert file["dimensions/lon"][()] == pytest.approx(np.arange(8) * 45)
        assert file["boundary_conditions/lon_periodic"].attrs["bc_type"] == "PERIODIC"


def test_steps_on_points_have_their_times(tmp_path):
    graph = graph_of("points(2, geometry = shared)")
    u, places = torch.rand(3, 4, 2, 7), {"D": (Geometry(torch.rand(7, 2)),)}
    inputs = Samples({"a": torch.rand(3, 2, 7)}, {}, "n", "s", "", (), places=places)
    times = np.arange(1.0, 5)
    write_points(tmp_path / "p.h5", graph, {"u": u}, inputs, times=times)
    fields = opdsl.open_dataset(tmp_path / "p.h5")
    assert fields.times["u"].tolist() == [1, 2, 3, 4]
    assert torch.equal(fields.values["u"].unflatten(1, (4, 2)), u)


LOOP = """edition 2026

model Wave {
  domain D = grid(x: 0..1, boundary = periodic, min = 7)
  input u : D -> R^1
  output v : D -> R^1
  feedback v -> u

  v = u |> linear(out = 1)
}
"""


@pytest.mark.parametrize(("start", "expected"), [(0, [3, 3.5, 4, 4.5]), (1, [3.5, 4, 4.5, 5])])
def test_predictions_go_on_in_the_times_of_the_file(tmp_path, start, expected):
    times = (3.0, 3.5, 4.0)
    plan = WellLayout(
        "w", {"x": np.arange(8) / 8}, {"u": "input", "v": "output"}, 6, "PERIODIC", "periodic",
        times=times, static=frozenset({"u"}),
    )  # fmt: skip
    with write_well(tmp_path / "w.h5", plan) as put:
        for i in range(6):
            put(i, {"u": np.random.default_rng(i).random(8), "v": np.ones((3, 8)) * i + 1})
    settings = {"rollout": 2, "epochs": 1, "batch": 2, "device": "cpu", "data.start": start}
    run = opdsl.train(LOOP, data=str(tmp_path / "w.h5"), out=tmp_path / "run", **settings)
    predict_file(run, str(tmp_path / "w.h5"), tmp_path / "p.h5", steps=4)
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["t0_fields/v"].shape == (6, 4, 8)
        assert file["dimensions/time"][()].tolist() == expected
