"""Meshes and shapes on the command line: made, converted, enriched, and trained on."""

import meshio
import numpy as np
import pytest

from opdsl.data import open_dataset
from opdsl.data.generate.sampling.blob import NUMBERS, Blob
from opdsl.data.generate.sampling.draws import normals
from tests.e2e.command_line import ROOT, data, good, run, start

POINTS = """edition 2026

from std.pointwise import Project

model Shapes {{
  domain P = points({dims}, geometry = per_sample)
  input a : P -> R^{{{inputs}}}
  output u : P -> R^{{{output}}}

  u = a |> linear(out = 6) |> gno(to = P, radius = 0.5, kernel = [6]) |> Project(out = 1)
}}

train Shapes {{
  data shapes {{ path = "d.h5" valid = 0.2 }}
  optimizer adamw {{ lr = 1e-2 }}
  schedule cosine {{ epochs = 2 }}
  batch = 2
  device = cpu
}}
"""

AROUND = """edition 2026

from std.pointwise import Project

model Around {
  domain P = points(3, geometry = per_sample)
  domain L = grid(x: -1..1, y: -1..1, z: -1..1, boundary = none, min = 4)
  input d : L -> R^{distance}
  output u : P -> R^{p}

  u = d |> linear(out = 6) |> gno(to = P, radius = 1.0, kernel = [6]) |> Project(out = 1)
}

train Around {
  data cars { path = "d.h5" valid = 0.2 }
  optimizer adamw { lr = 1e-2 }
  schedule cosine { epochs = 2 }
  batch = 2
  device = cpu
}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cars(folder, count=5, **more):
    """Surfaces as files, with a pressure on their points."""
    folder.mkdir()
    for i in range(count):
        points, cells = Blob.of(normals(4, i, NUMBERS)).triangulate(0.45)
        fields = {"p": points[:, 0] ** 2, "q": points[:, 1]}
        meshio.Mesh(points, [("triangle", cells)], fields, **more).write(folder / f"car{i}.vtu")
    return folder


def trained(here, program):
    (here / "m.op").write_text(program)
    good("train", "m.op", "--out", "run")
    assert (here / "run" / "report.html").stat().st_size > 1000
    assert good("evaluate", "run")


@pytest.mark.parametrize(
    ("kind", "dims", "inputs"),
    [("poisson-shapes", 2, "forcing, boundary"), ("surface", 3, "forcing")],
)
def test_generated_shapes_train(here, kind, dims, inputs):
    made = ["data", "generate", kind, "--resolution", 5, "--samples", 5, "--seed", 3, "-o", "d.h5"]
    told = data(*made, "--json")
    assert (told["path"], told["samples"]) == ("d.h5", 5)
    assert told["points"][0] < told["points"][1]
    assert told["order"] == pytest.approx(2, abs=0.3)
    shown = data("data", "show", "d.h5", "--json")
    assert {x["field"] for x in shown["fields"]} == {"solution", *inputs.split(", ")}
    text = good(*made)
    assert "5 samples of" in text
    assert "checked: residual" in text
    trained(here, POINTS.format(dims=dims, inputs=inputs, output="solution"))


def test_mesh_files_become_a_data_set_that_trains(here):
    cars(here / "cars")
    told = data("data", "convert", "cars", "--output", "p", "--input", "q", "-o", "d.h5", "--json")
    assert told["samples"] == 5
    assert told["cells"] == "triangles"
    assert told["fields"] == {"p": 1, "q": 1}
    assert open_dataset("d.h5").roles == {"p": "output", "q": "input"}
    trained(here, POINTS.format(dims=3, inputs="q", output="p"))


def test_what_was_left_out_or_moved_is_told(here):
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [5, 5, 0]], float)
    cell_data = {"flux": [np.array([2.5])], "part": [np.array([3])]}
    meshio.Mesh(points, [("triangle", [[0, 1, 2]])], cell_data=cell_data).write(here / "a.vtu")
    text = good("data", "convert", "a.vtu", "-o", "a.h5")
    assert "1 samples of 3 to 3 points, triangles" in text
    assert "field flux: 1 channel, moved from cells to points" in text
    assert "left out: 1 points that no cell uses" in text
    assert "left out: part, whole numbers on cells" in text


def test_the_distance_on_a_grid_is_an_input_that_trains(here):
    good("data", "convert", cars(here / "cars"), "--output", "p", "-o", "c.h5")
    told = data(
        *(
            "data",
            "distance",
            "c.h5",
            "--grid",
            6,
            "--box=-1..1,-1..1,-1..1",
            "-o",
            "d.h5",
            "--json",
        )
    )
    assert told["grid"] == [6, 6, 6]
    assert told["box"] == [[-1, 1]] * 3
    found = open_dataset("d.h5").values["distance"]
    assert found.shape == (5, 1, 6, 6, 6)
    assert found.min() < 0 < found.max()
    trained(here, AROUND)


@pytest.mark.usefixtures("here")
def test_a_grid_may_have_its_own_number_of_points_on_each_axis():
    good("data", "generate", "poisson-shapes", "--resolution", 5, "--samples", 2, "-o", "c.h5")
    text = good("data", "distance", "c.h5", "--grid", "7x4", "--name", "wall", "-o", "d.h5")
    assert "`wall` on 7x4 points of the box" in text
    assert open_dataset("d.h5").values["wall"].shape == (2, 1, 7, 4)


def test_a_transport_adds_what_otno_trains_on(here):
    good("data", "convert", cars(here / "cars", 3), "--output", "p", "-o", "c.h5")
    told = data("data", "transport", "c.h5", "-o", "d.h5", "--json")
    assert told["missed"] == [0, 0, 0]
    n = told["size"]
    assert open_dataset("d.h5").values["trans"].shape == (3, 3, n, n)
    text = good("data", "transport", "c.h5", "--keep", "p", "--size", 26, "-o", "d.h5")
    assert "26x26 points of a torus, with normals" in text
    small = ["--set", "model.width=4", "--set", "model.modes=4", "--epochs", "2"]
    settings = ["--set", "data.path=d.h5", "--set", "data.fields.press=p"]
    good("train", ROOT / "specs" / "otno_car.op", "--out", "run", *small, *settings)


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (("convert", "none.vtu", "-o", "a.h5"), 4, "OP0610"),
        (("convert", "bad.vtu", "-o", "a.h5"), 4, "OP0610"),
        (("convert", "good", "--output", "r", "-o", "a.h5"), 4, "OP0611"),
        (("distance", "c.h5", "--grid", "1", "-o", "a.h5"), 2, "--grid 1"),
        (("distance", "c.h5", "--grid", "4x4", "-o", "a.h5"), 4, "OP0613"),
        (("distance", "c.h5", "--grid", "4", "--box", "2..1", "-o", "a.h5"), 2, "--box"),
        (("distance", "c.h5", "--grid", "4", "--domain", "Q", "-o", "a.h5"), 4, "OP0611"),
        (("distance", "bad.vtu", "--grid", "4", "-o", "a.h5"), 4, "OP0610"),
        (("transport", "c.h5", "--normals", "p", "-o", "a.h5"), 4, "OP0611"),
        (("transport", "c.h5", "--size", "1", "-o", "a.h5"), 2, "--size"),
        (
            ("generate", "poisson-shapes", "--resolution", "1", "--samples", "1", "-o", "a.h5"),
            3,
            "OP0604",
        ),
        (("generate", "surface", "--resolution", "9", "--samples", "0", "-o", "a.h5"), 3, "OP0604"),
        (
            ("generate", "surface", "--resolution", "4", "--samples", "1", "-o", "c.h5/a.h5"),
            1,
            "OP0625",
        ),
    ],
)
def test_a_mistake_is_one_message_and_leaves_no_file(here, command, code, told):
    (here / "bad.vtu").write_text("<VTKFile>")
    good("data", "convert", cars(here / "good", 1), "-o", "c.h5")
    result = run("data", *command)
    assert result.exit_code == code
    assert told in result.stderr
    assert result.stderr.lower().count("error") == 1
    assert not (here / "a.h5").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("convert", "good/car0.vtu", "-o", "good/car0.vtu"),
        ("distance", "c.h5", "--grid", "4", "-o", "c.h5"),
        ("transport", "c.h5", "-o", "./c.h5"),
    ],
)
def test_what_is_read_is_never_overwritten(here, command):
    good("data", "convert", cars(here / "good", 1), "-o", "c.h5")
    before = {x: x.read_bytes() for x in here.rglob("*") if x.is_file()}
    assert run("data", *command).exit_code == 2
    assert {x: x.read_bytes() for x in here.rglob("*") if x.is_file()} == before


@pytest.mark.parametrize(
    "kind", ["surface", pytest.param("poisson-shapes", marks=pytest.mark.slow)]
)
def test_ctrl_c_while_shapes_are_made_leaves_no_file(here, kind):
    child = start(
        *("data", "generate", kind, "--resolution", 6, "--samples", 100, "-o", "d.h5"), cwd=here
    )
    try:
        assert child.stderr.readline() == "10/100 samples\n"
        child.terminate()
        child.communicate(timeout=60)
    finally:
        child.kill()  # of no effect, unless it did not listen
    assert child.returncode == 143
    assert list(here.iterdir()) == []


def test_the_commands_are_listed_with_an_example():
    for command in ("convert", "distance", "transport"):
        assert command in good("data", "--help")
        assert "Example: opdsl data" in good("data", command, "--help")
    for command in ("poisson-shapes", "surface"):
        assert "Example: opdsl data generate" in good("data", "generate", command, "--help")
