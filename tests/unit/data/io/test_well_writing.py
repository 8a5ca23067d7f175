"""What is written has every attribute that The Well documents, and its own programs accept it.

Source of the rules: docs/data_format.md of PolymathicAI/the_well.
"""

import os
import runpy
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from opdsl.data import open_dataset
from opdsl.data.io.well_writing import WellLayout, write_well

X, Y = np.linspace(0, 1, 9), np.linspace(-2, 2, 5)
TIMES = (0.0, 0.25, 1.0)
RANDOM = np.random.default_rng(8)
VALUES = {
    "nu": RANDOM.random((4, 9, 5), np.float32),
    "p": RANDOM.random((4, 3, 9, 5), np.float32),
    "v": RANDOM.random((4, 3, 9, 5, 2), np.float32),
    "s": RANDOM.random((4, 3, 9, 5, 2, 2), np.float32),
}


def write_trajectories(path, **changes):
    parts = {
        "name": "flow",
        "axes": {"x": X, "y": Y},
        "roles": {"nu": "input", "p": "output", "v": "output", "s": "unknown"},
        "count": 4,
        "boundary": {"x": ("WALL", "OPEN"), "y": ("PERIODIC", "PERIODIC")},
        "layout": ("node", "periodic"),
        "parameters": {"kind": "smooth", "fine": 129, "viscosity": 0.5},
        "times": TIMES,
        "static": frozenset({"nu"}),
        "orders": {"v": 1, "s": 2},
    }
    with write_well(path, WellLayout(**parts | changes)) as put:
        for i in range(4):
            put(i, {k: x[i] for k, x in VALUES.items()})
    return path


def write_steady(path):
    plan = WellLayout(
        "steady", {"x": X, "y": Y}, {"a": "input", "u": "output"}, 4, "WALL", "node", {"kind": "b"}
    )
    with write_well(path, plan) as put:
        for i in range(4):
            put(i, {"a": VALUES["nu"][i], "u": VALUES["p"][i, 0]})
    return path


def test_every_field_has_the_shape_of_its_attributes(tmp_path):
    with h5py.File(write_trajectories(tmp_path / "a.h5")) as f:
        for order in range(3):
            group = f[f"t{order}_fields"]
            assert sorted(group.attrs["field_names"]) == sorted(group)
            for name, stored in group.items():
                timed = (3,) if stored.attrs["time_varying"] else ()
                assert stored.shape == (4, *timed, 9, 5, *(2,) * order)
                assert stored.dtype == np.float32
                assert stored.attrs["sample_varying"].dtype == np.bool_
                assert list(stored.attrs["dim_varying"]) == [True, True]
                assert np.array_equal(stored[()], VALUES[name])
        assert not f["t0_fields/nu"].attrs["time_varying"]
        assert set(f["t2_fields/s"].attrs) >= {"symmetric", "antisymmetric"}


def test_every_coordinate_says_on_what_it_depends(tmp_path):
    with h5py.File(write_trajectories(tmp_path / "a.h5")) as f:
        dimensions = f["dimensions"]
        assert list(dimensions.attrs["spatial_dims"]) == ["x", "y"]
        varies = {k: bool(x.attrs["time_varying"]) for k, x in dimensions.items()}
        assert varies == {"time": True, "x": False, "y": False}
        assert not any(x.attrs["sample_varying"] for x in dimensions.values())
        assert dimensions["time"][()].tolist() == list(TIMES)
        assert dimensions["y"][()].tolist() == [-2, -1, 0, 1, 2]


def test_numbers_among_the_parameters_are_scalars(tmp_path):
    with h5py.File(write_trajectories(tmp_path / "a.h5")) as f:
        assert list(f.attrs["simulation_parameters"]) == ["fine", "viscosity"]
        assert list(f["scalars"].attrs["field_names"]) == ["fine", "viscosity"]
        assert {k: float(x[()]) for k, x in f["scalars"].items()} == {"fine": 129, "viscosity": 0.5}
        assert f["scalars/fine"].shape == ()
        assert not f["scalars/fine"].attrs["time_varying"]
        assert (f.attrs["kind"], f.attrs["fine"]) == ("smooth", 129)


def test_each_end_of_an_axis_has_its_own_boundary(tmp_path):
    with h5py.File(write_trajectories(tmp_path / "a.h5")) as f:
        conditions = f["boundary_conditions"]
        kinds = {k: (x.attrs["bc_type"], list(x["mask"][()])) for k, x in conditions.items()}
        middle = [False] * 7
        assert kinds == {
            "x_wall": ("WALL", [True, *middle, False]),
            "x_open": ("OPEN", [False, *middle, True]),
            "y_periodic": ("PERIODIC", [True, False, False, False, True]),
        }
        assert list(conditions["x_open"].attrs["associated_dims"]) == ["x"]


def test_long_trajectories_are_stored_in_windows(tmp_path):
    plan = WellLayout(
        "long", {"x": np.linspace(0, 1, 1024)}, {"u": "output"}, 1, "OPEN", "node",
        times=np.arange(1000.0),
    )  # fmt: skip
    with write_well(tmp_path / "a.h5", plan) as put:
        put(0, {"u": np.ones((1000, 1024))})
    with h5py.File(tmp_path / "a.h5") as f:
        assert f["t0_fields/u"].chunks == (1, 256, 1024)  # 1 MB


def test_trajectories_are_read_back_with_times_before_components(tmp_path):
    fields = open_dataset(write_trajectories(tmp_path / "a.h5"))
    assert fields.roles["s"] == "unknown"
    assert torch.equal(fields.values["nu"][:, 0], torch.from_numpy(VALUES["nu"]))
    v = fields.values["v"].unflatten(1, (3, 2))
    assert torch.equal(v, torch.from_numpy(np.moveaxis(VALUES["v"], -1, 2)))


# ------------------------------------------------------------------- The Well's own programs


@pytest.fixture(scope="module")
def well():
    """The reader of The Well: `pip install the_well`."""
    return pytest.importorskip("the_well.data", reason="the package `the_well` is not installed")


def files_of(tmp_path):
    (tmp_path / "steady").mkdir()
    (tmp_path / "flow").mkdir()
    write_steady(tmp_path / "steady/a.h5")
    write_trajectories(tmp_path / "flow/a.hdf5")


def test_the_well_reads_windows_of_trajectories(well, tmp_path):
    files_of(tmp_path)
    data = well.WellDataset(
        path=str(tmp_path / "flow"), n_steps_input=1, n_steps_output=1, normalize_time_grid=False
    )
    assert data.metadata.field_names[1] == ["v_x", "v_y"]
    assert data.metadata.constant_field_names[0] == ["nu"]
    assert len(data) == 4 * 2
    window = data[3]  # the second window of the second sample
    assert torch.equal(window["input_fields"][0, ..., 0], torch.from_numpy(VALUES["p"][1, 1]))
    assert torch.equal(window["output_fields"][0, ..., 1:3], torch.from_numpy(VALUES["v"][1, 2]))
    assert torch.equal(window["constant_fields"][..., 0], torch.from_numpy(VALUES["nu"][1]))
    assert window["output_time_grid"].tolist() == [1.0]
    assert window["constant_scalars"].tolist() == [129, 0.5]
    assert window["boundary_conditions"].tolist() == [[0, 1], [2, 2]]  # wall, open; periodic


def test_the_well_takes_no_steady_field_for_a_constant(well, tmp_path):
    files_of(tmp_path)
    data = well.WellDataset(path=str(tmp_path / "steady"), n_steps_input=1, n_steps_output=0)
    assert data.metadata.field_names[0] == ["a", "u"]
    assert data.metadata.n_constant_fields == 0
    assert torch.equal(data[2]["input_fields"][0, ..., 1], torch.from_numpy(VALUES["p"][2, 0]))


def test_the_checker_of_the_well_accepts_what_is_written(tmp_path):
    scripts = os.environ.get("THE_WELL_SCRIPTS")
    if not scripts:
        pytest.skip("THE_WELL_SCRIPTS does not name the folder `scripts` of PolymathicAI/the_well")
    files_of(tmp_path)
    check = runpy.run_path(str(Path(scripts) / "check_thewell_formatting.py"))["check_hdf5_format"]
    for name in ("steady/a.h5", "flow/a.hdf5"):
        check(str(tmp_path / name))  # asserts
