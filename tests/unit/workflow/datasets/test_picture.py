"""Pictures of data sets: as many panels, scales and frames as there are functions and times."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import points
from opdsl.data.io.well_writing import WellLayout, write_well
from opdsl.diagnostics import OpError
from opdsl.nn.points.geometry import Geometry
from opdsl.train.report import sheet
from opdsl.train.report.series import CurveSeries, PlotAxes
from opdsl.workflow.datasets import picture
from opdsl.workflow.datasets.picture import plot_dataset

X, Y = np.linspace(0, 2, 8), np.linspace(0, 1, 5)
LINE = PlotAxes(("x",), (X,))
PLANE = PlotAxes(("x", "y"), (X, Y))


@pytest.fixture
def drawn(monkeypatch):
    """What is to be drawn, instead of a drawing."""
    calls = []
    for name in ("sheet_png", "sheet_gif"):
        monkeypatch.setattr(
            picture, name, lambda *args, kind=name: calls.append((kind, args)) or b""
        )
    return calls


def well(path, *, times=(0.0,), axes=None, count=3):
    axes = axes or {"x": X, "y": Y}
    plan = WellLayout(
        "w", axes, {"a": "input", "v": "output"}, count, "WALL", "node", times=times,
        static=frozenset({"a"}) if len(times) > 1 else frozenset(),
    )  # fmt: skip
    with write_well(path, plan) as put:
        for i in range(count):
            grid = plan.grid
            values = np.arange(len(times)).reshape(-1, *(1 for _ in grid)) + i * np.ones(grid)
            put(i, {"a": np.full(grid, i), "v": values})
    return path


def test_each_sample_has_a_row_of_functions(tmp_path, drawn):
    told = plot_dataset(str(well(tmp_path / "a.h5")), tmp_path / "a.png", samples=2)
    assert (told.samples, told.functions, told.times) == (2, ("a", "v"), 1)
    ((kind, (rows, numbers, _)),) = drawn
    assert kind == "sheet_png"
    assert list(numbers) == [0, 1]
    assert [[x.name for x in row] for row in rows] == [["a", "v"]] * 2
    assert np.array_equal(rows[1][1].frames[0], np.ones((8, 5)))
    assert rows[0][0].place.lines[0] == pytest.approx(X)


def test_frames_are_spread_over_all_times(tmp_path, drawn):
    times = np.linspace(0, 1, 21)
    plot_dataset(str(well(tmp_path / "a.h5", times=times)), tmp_path / "a.png")
    ((_, (rows, _, labels)),) = drawn
    assert labels == ["t = 0", "t = 0.2", "t = 0.4", "t = 0.6", "t = 0.8", "t = 1"]
    assert [x[0, 0] for x in rows[0][1].frames] == [0, 4, 8, 12, 16, 20]
    assert len(rows[0][0].frames) == 1  # `a` does not change


def test_a_grid_in_space_has_its_three_middle_slices(tmp_path, drawn):
    axes = {"x": X, "y": Y, "z": np.linspace(0, 4, 5)}
    told = plot_dataset(str(well(tmp_path / "a.h5", axes=axes)), tmp_path / "a.png", names=["v"])
    assert told.functions == ("v at z = 2", "v at y = 0.5", "v at x = 1.14")
    ((_, (rows, *_)),) = drawn
    assert [x.frames[0].shape for x in rows[0]] == [(8, 5), (8, 5), (5, 5)]
    assert [x.place.names for x in rows[0]] == [("x", "y"), ("x", "z"), ("y", "z")]


def test_an_animation_needs_times(tmp_path):
    with pytest.raises(OpError) as caught:
        plot_dataset(str(well(tmp_path / "a.h5")), tmp_path / "a.gif")
    assert caught.value.diagnostics[0].code == "OP0613"
    assert not (tmp_path / "a.gif").exists()


def test_a_field_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OpError) as caught:
        plot_dataset(str(well(tmp_path / "a.h5")), tmp_path / "a.png", names=["w"])
    assert "no field `w`; the data have `a`, `v`" in caught.value.diagnostics[0].message


def test_an_animation_has_a_frame_for_each_time(tmp_path):
    path = well(tmp_path / "a.h5", times=(0.0, 0.5, 1.0), count=1)
    told = plot_dataset(str(path), tmp_path / "a.gif", names=["v"])
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.format, image.n_frames, told.times) == ("GIF", 3, 3)
        pages = []
        for i in range(3):
            image.seek(i)
            pages.append(np.asarray(image.convert("RGB")).copy())
    assert not np.array_equal(pages[0], pages[2])


def test_points_are_drawn_where_they_are(tmp_path, drawn):
    place = torch.rand(7, 3)
    raw = FileFields(
        "p", {"f": torch.rand(2, 1, 7)}, {"f": "output"}, (), "periodic", {"P": (Geometry(place),)},
        {"f": "P"},
    )  # fmt: skip
    points.write(tmp_path / "p.h5", raw)
    plot_dataset(str(tmp_path / "p.h5"), tmp_path / "p.png")
    ((_, (rows, *_)),) = drawn
    assert np.array_equal(rows[1][0].place.points, place.numpy())


def test_the_first_axis_is_across_and_latitude_is_up():
    from matplotlib.figure import Figure

    values = np.arange(40.0).reshape(8, 5)
    axes = Figure().add_subplot()
    image, _ = sheet._draw(axes, CurveSeries("v", [values], PLANE), (0, 40))
    assert np.array_equal(image.get_array(), values.T)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    assert axes.get_aspect() == 1
    globe = PlotAxes(("lat", "lon"), (np.linspace(70, -70, 8), np.arange(5) * 72.0), sphere=True)
    axes = Figure().add_subplot()
    image, _ = sheet._draw(axes, CurveSeries("v", [values], globe), (0, 40))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lon", "lat")
    low, high = axes.get_ylim()
    assert low < high  # north is up
    assert image.get_extent()[2] == pytest.approx(80)  # and the first row is the northern one


def test_uneven_points_have_cells_of_their_size():
    from matplotlib.figure import Figure

    place = PlotAxes(("x", "y"), (X**2, Y))
    image, update = sheet._draw(
        Figure().add_subplot(), CurveSeries("v", [np.ones((8, 5))], place), (0, 1)
    )
    widths = np.diff(image.get_coordinates()[0, :, 0])
    assert widths[-1] > 5 * widths[1]
    update(np.full((8, 5), 3.0))
    assert image.get_array().max() == 3


def test_curves_and_strips_are_pictures():
    frames = [np.sin(X + t) for t in range(3)]
    for rows in (
        [[CurveSeries("u", frames, LINE)]],
        [[CurveSeries("u", [np.ones((8, 5))] * 3, PLANE)]],
    ):
        data = sheet.sheet_png(rows, [0], ["a", "b", "c"])
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG"
