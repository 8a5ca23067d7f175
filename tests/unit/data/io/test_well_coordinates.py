"""Coordinates and boundary conditions in files of The Well, written here by h5py."""

import h5py
import numpy as np
import pytest

from opdsl.data import open_dataset
from opdsl.data.io.dataset import stream_dataset
from opdsl.diagnostics import OpError

X, Y = np.linspace(0, 7, 9) ** 2, np.linspace(-3, 3, 5)


def write(path, conditions=(), axes=None, **attrs):
    """A steady file: conditions are (dims, kind, mask) each."""
    axes = axes or {"x": X, "y": Y}
    shape = tuple(np.shape(x)[-1] for x in axes.values())
    with h5py.File(path, "w") as file:
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = list(axes)
        for name, x in axes.items():
            dimensions[name] = x
            dimensions[name].attrs.update(attrs)
        for i, (dims, kind, mask) in enumerate(conditions):
            group = file.create_group(f"boundary_conditions/{i}")
            group.attrs["associated_dims"], group.attrs["bc_type"] = dims, kind
            if mask is not None:
                group["mask"] = mask
        file["t0_fields/u"] = np.ones((3, *shape), np.float32)
        file["t0_fields/u"].attrs["time_varying"] = False
    return path


def ends(*points, n=9):
    mask = np.zeros(n, bool)
    mask[list(points)] = True
    return mask


def boundary(path, *conditions, **more):
    found = open_dataset(write(path, conditions, **more)).coordinates
    return {k: x.boundary for k, x in found.items()}


def test_the_coordinates_are_read_as_they_are(tmp_path):
    found = open_dataset(write(tmp_path / "a.h5", units="m")).coordinates
    assert list(found) == ["x", "y"]
    np.testing.assert_array_equal(found["x"].values, X)
    np.testing.assert_array_equal(found["y"].values, Y)
    assert found["x"].values.dtype == np.float64
    assert found["x"].boundary == (None, None)
    assert found["x"].unit == "m"
    assert not found["x"].varying


def test_a_coarser_resolution_keeps_the_coordinates_of_its_points(tmp_path):
    path = write(tmp_path / "a.h5", axes={"x": np.arange(8.0), "y": np.arange(4.0)})
    found = open_dataset(path, resolution=(4, 2)).coordinates
    assert found["x"].values.tolist() == [0, 2, 4, 6]
    assert found["y"].values.tolist() == [0, 2]
    (piece,) = stream_dataset(path, size=3).pieces
    assert piece.coordinates["x"].values.tolist() == list(range(8))


def test_a_mask_says_which_end_a_condition_is_about(tmp_path):
    found = boundary(
        tmp_path / "a.h5",
        (["x"], "WALL", ends(0)), (["x"], "OPEN", ends(-1)), (["y"], "WALL", ends(0, -1, n=5)),
    )  # fmt: skip
    assert found == {"x": ("wall", "open"), "y": ("wall", "wall")}


def test_a_periodic_axis_has_no_marked_points(tmp_path):
    found = boundary(tmp_path / "a.h5", ("x", "PERIODIC", ends()))
    assert found == {"x": ("periodic", "periodic"), "y": (None, None)}


def test_walls_on_which_no_point_lies_are_both_ends(tmp_path):
    assert boundary(tmp_path / "a.h5", (["x"], "WALL", ends()))["x"] == ("wall", "wall")


def test_a_whole_face_is_an_end_and_an_obstacle_is_none(tmp_path):
    face, obstacle = np.zeros((9, 5), bool), np.zeros((9, 5), bool)
    face[0], obstacle[3:5, 2:4] = True, True
    found = boundary(tmp_path / "a.h5", (["x", "y"], "WALL", face), (["x", "y"], "OPEN", obstacle))
    assert found == {"x": ("wall", None), "y": (None, None)}


@pytest.mark.parametrize(
    "condition",
    [(["x"], "ABSORBING", ends(0)), (["x"], "WALL", None), (["q"], "WALL", ends(0)),
     (["x"], "WALL", np.zeros((2, 9), bool)), ([], "WALL", ends(0)), (["x"], 3, ends(0))],
)  # fmt: skip
def test_what_is_unknown_says_nothing(tmp_path, condition):
    assert boundary(tmp_path / "a.h5", condition)["x"] == (None, None)


def test_coordinates_that_vary_between_samples_are_marked(tmp_path):
    rows = np.stack([np.arange(9.0), np.arange(9.0) * 2, np.arange(9.0)])
    found = open_dataset(write(tmp_path / "a.h5", axes={"x": rows, "y": Y})).coordinates
    assert found["x"].varying
    np.testing.assert_array_equal(found["x"].values, rows[0])
    same = open_dataset(write(tmp_path / "b.h5", axes={"x": np.stack([X, X]), "y": Y}))
    assert not same.coordinates["x"].varying


def test_coordinates_that_are_no_numbers_are_none(tmp_path):
    names = np.array(["a", "b", "c"], dtype="S1")
    found = open_dataset(write(tmp_path / "a.h5", axes={"x": names, "y": Y})).coordinates
    assert list(found) == ["y"]


def test_files_of_one_set_have_the_coordinates_of_the_first(tmp_path):
    home = tmp_path / "set/data/train"
    home.mkdir(parents=True)
    write(home / "a.h5")
    write(home / "b.h5")
    assert len(open_dataset(tmp_path / "set").values["u"]) == 6
    write(home / "b.h5", axes={"x": X + 1, "y": Y})
    for read in (open_dataset, lambda path: list(stream_dataset(path, size=2).pieces)):
        with pytest.raises(OpError) as caught:
            read(tmp_path / "set")
        (found,) = caught.value.diagnostics
        assert found.code == "OP0610"
        assert found.notes == ("here x = 1 .. 50 (9 points), there x = 0 .. 49 (9 points)",)
