"""`opdsl data convert` on data that are no meshes: The Well's layout, whole or not at all."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import opdsl
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import points
from opdsl.nn.points.geometry import Geometry
from opdsl.workflow.datasets import conversion
from tests.e2e.command_line import data, good, run

RANDOM = np.random.default_rng(4)
X = RANDOM.random((40, 1, 12, 10), np.float32)
Y = RANDOM.random((40, 6, 12, 10), np.float32)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("steps.npz", x=X, y=Y[:, :, None])  # (samples, times, channels, *grid)
    np.savez("flat.npz", x=X[:, :, :, :1].repeat(64, 3).repeat(4, 2), y=np.ones((40, 6, 48, 64)))
    torch.save({"x": torch.from_numpy(X), "y": torch.from_numpy(Y[:, :2])}, "pair.pt")
    return tmp_path


def test_times_of_a_file_become_an_axis(here):  # noqa: ARG001  the folder
    done = run("data", "convert", "steps.npz", "-o", "steps.h5", "--box", "0..2,-1..1")
    assert done.exit_code == 0, done.stderr
    assert "40 samples on 12x10 points" in done.stdout
    assert "6 times" in done.stdout
    assert "note" not in done.stderr
    with h5py.File("steps.h5") as file:
        assert np.array_equal(file["t0_fields/y"][()], Y)
        assert np.array_equal(file["t0_fields/x"][()], X[:, 0])
        assert not file["t0_fields/x"].attrs["time_varying"]
        assert file["t0_fields/y"].attrs["opdsl_role"] == "output"
        assert file["dimensions/y"][()] == pytest.approx(-1 + 0.2 * np.arange(10))
        assert len(file["boundary_conditions"]) == 0  # nobody states them


def test_channels_are_times_if_the_user_says_so(here):  # noqa: ARG001  the folder
    good("data", "convert", "flat.npz", "--times", "3", "-o", "flat.h5")
    with h5py.File("flat.h5") as file:
        assert {k: x.shape for k, x in file["t0_fields"].items()} == {
            "x": (40, 48, 64), "y_0": (40, 3, 48, 64), "y_1": (40, 3, 48, 64),
        }  # fmt: skip


def test_coordinates_that_nobody_states_are_noted(here):  # noqa: ARG001  the folder
    done = run("data", "convert", "pair.pt", "-o", "pair.h5", "--sampling", "centres")
    assert "note: the data state no coordinates of `x` and `y`; 0..1 is written" in done.stderr
    with h5py.File("pair.h5") as file:
        assert file["dimensions/x"][()] == pytest.approx((np.arange(12) + 0.5) / 12)
        assert file.attrs["opdsl_layout"] == "centres"


def test_vectors_keep_their_components_together(here):  # noqa: ARG001  the folder
    summary = data("data", "convert", "pair.pt", "--vector", "y", "-o", "pair.h5", "--json")
    assert summary["fields"] == {"x": "12 x 10", "y": "12 x 10 x 2"}
    with h5py.File("pair.h5") as file:
        assert np.array_equal(file["t1_fields/y"][:, 0], np.moveaxis(Y[:, :2], 1, -1))
    fields = opdsl.open_dataset("pair.h5")
    assert torch.equal(fields.values["y"], torch.from_numpy(Y[:, :2]))


def test_a_file_of_the_well_stays_as_it_is(here):  # noqa: ARG001  the folder
    options = ("--vector", "y", "--box", "0..2,0..1", "--sampling", "both")
    good("data", "convert", "pair.pt", *options, "-o", "pair.h5")
    with h5py.File("pair.h5", "r+") as file:
        wall = file["boundary_conditions"].create_group("x_wall")
        wall.attrs.update(bc_type="WALL", associated_dims=["x"], associated_fields=[])
        wall["mask"] = np.arange(12) == 0
    good("data", "convert", "pair.h5", "--name", "again", "-o", "again.h5")
    with h5py.File("pair.h5") as old, h5py.File("again.h5") as new:
        for name in (
            "t1_fields/y",
            "dimensions/x",
            "dimensions/y",
            "boundary_conditions/x_wall/mask",
        ):
            assert np.array_equal(old[name][()], new[name][()])
        assert (new.attrs["dataset_name"], new.attrs["opdsl_layout"]) == ("again", "node")
        assert list(new["boundary_conditions"]) == ["x_wall"]
    one, two = (opdsl.open_dataset(x) for x in ("pair.h5", "again.h5"))
    assert one.fingerprint == two.fingerprint


def test_roles_are_those_that_are_named(here):  # noqa: ARG001  the folder
    good("data", "convert", "pair.pt", "--input", "y", "--output", "x", "-o", "a.h5")
    assert opdsl.open_dataset("a.h5").roles == {"x": "output", "y_0": "input", "y_1": "input"}


def test_points_stay_points(here):  # noqa: ARG001  the folder
    values = torch.rand(3, 4, 7)
    places = {"P": (Geometry(torch.rand(7, 2)),)}
    raw = FileFields("set", {"f": values}, {"f": "unknown"}, (), "periodic", places, {"f": "P"})
    points.write(Path("p.h5"), raw)
    good("data", "convert", "p.h5", "--output", "f", "--times", "2", "-o", "q.h5")
    fields = opdsl.open_dataset("q.h5")
    assert torch.equal(fields.values["f"], values)
    assert (fields.roles["f"], fields.times["f"].tolist()) == ("output", [0, 1])


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("pair.pt", "--input", "z"), "OP0611", "no field `z`; the data have `x`, `y`"),
        (("pair.pt", "--input", "x", "--output", "x"), "OP0611", "an input and an output"),
        (("pair.pt", "--times", "7"), "OP0613", "are 7 times: `x` 1, `y` 2"),
        (("pair.pt", "--vector", "x"), "OP0613", "`x` has 1 components, a vector on 2 axes has 2"),
        (("pair.pt", "--box", "0..1"), "OP0613", "a box of 1 axes for data on 2"),
        (("large.pt",), "OP0619", "too large for float32"),
        (("none.npz",), "OP0610", "no such file"),
    ],
)
def test_what_does_not_fit_is_one_diagnostic_and_no_file(here, options, code, says):
    large = torch.from_numpy(X).double()
    large[35] = 1e300  # in a later piece
    torch.save({"x": large, "y": large}, "large.pt")
    before = sorted(here.iterdir())
    done = run("data", "convert", *options, "-o", "out.h5")
    assert done.exit_code != 0
    assert f"error[{code}]" in done.stderr
    assert says in done.stderr
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("a.vtk", "--times", "3"), "`--times` is not for meshes"),
        (("pair.pt", "--domain", "D"), "`--domain` is for meshes only"),
        (("pair.pt", "--box", "1..0,0..1"), "expected the ends of each axis"),
        (("pair.pt", "-o", "pair.npz"), "ends in one of .h5, .hdf5"),
    ],
)
def test_options_that_do_not_fit_are_mistakes_of_usage(here, options, says):  # noqa: ARG001  the folder
    done = run("data", "convert", *options, *(() if "-o" in options else ("-o", "out.h5")))
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())


def test_an_interrupted_conversion_leaves_nothing(here, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "_refuse_values", stop)
    before = sorted(here.iterdir())
    with pytest.raises(KeyboardInterrupt):
        conversion.convert_dataset("pair.pt", Path("out.h5"), conversion.ConvertOptions())
    assert sorted(here.iterdir()) == before


def test_only_some_samples_are_in_memory_at_once(here, monkeypatch):  # noqa: ARG001  the folder
    sizes = []
    whole = conversion._refuse_values
    monkeypatch.setattr(
        conversion,
        "_refuse_values",
        lambda fields: (sizes.append(len(fields.values["x"])), whole(fields)),
    )
    conversion.convert_dataset("steps.npz", Path("out.h5"), conversion.ConvertOptions())
    assert sizes == [16, 16, 8]
