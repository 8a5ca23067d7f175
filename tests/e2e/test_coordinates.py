"""Training, evaluation and prediction compare the coordinates of files with the program."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

import opdsl
from tests.e2e.command_line import good, run

ROOT = Path(__file__).parents[2]
PROGRAM = """edition 2026

model Flow {{
  domain D = {domain}
  input a : D -> R^1
  output u : D -> R^1

  u = a |> linear(out = 1)
}}

train Flow {{
  data {{ path = "{path}" test = "{path}" {more} }}
  schedule constant {{ epochs = 1 }}
  batch = 4
  device = cpu
  normalise {{ inputs = false outputs = false }}
}}
"""
UNIT = "grid(x: 0..1, y: 0..1, min = 3)"


def write(path, x, y, names=("x", "y"), kind="WALL", samples=8):
    """A file of The Well, as its own writer lays it out."""
    a = np.random.default_rng(0).random((samples, len(x), len(y))).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_group("dimensions").attrs["spatial_dims"] = list(names)
        for name, points in zip(names, (x, y), strict=True):
            file[f"dimensions/{name}"] = np.float32(points)
            group = file.create_group(f"boundary_conditions/{name}_{kind.lower()}")
            group.attrs["associated_dims"], group.attrs["bc_type"] = [name], kind
            group["mask"] = np.arange(len(points)) % (len(points) - 1) == 0
        for name, values in (("a", a), ("u", 2 * a + 1)):
            file[f"t0_fields/{name}"] = values
            file[f"t0_fields/{name}"].attrs["time_varying"] = False
    return path


def trained(folder, domain, path="d.hdf5", more="", out="run"):
    (folder / "flow.op").write_text(PROGRAM.format(domain=domain, path=path, more=more))
    return run("train", folder / "flow.op", "--out", folder / out, "--quiet")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_wrong_data_are_refused_with_both_values_and_the_domain_to_write(here):
    write(here / "d.hdf5", np.linspace(0, 200, 9), np.linspace(0, 7, 5))
    result = trained(here, UNIT)
    assert result.exit_code == 4
    said = " ".join(result.stderr.split())
    assert "OP0657" in said
    assert "the file: x = 0 .. 200; the program: x: 0..1" in said
    assert "the file: y = 0 .. 7; the program: y: 0..1" in said
    assert "`domain D = grid(x: 0..200, y: 0..7, min = 3)`" in said
    assert 'data { coordinates = "ignore" }' in said
    assert not (here / "run").exists()
    assert trained(here, "grid(x: 0..200, y: 0..7, min = 3)").exit_code == 0


@pytest.mark.parametrize(("word", "warned"), [("ignore", False), ("warn", True)])
def test_the_override_trains_evaluates_and_predicts(here, word, warned):
    write(here / "d.hdf5", np.linspace(0, 1, 9) ** 3, np.linspace(0, 1, 5))
    for result in (
        trained(here, UNIT, more=f'coordinates = "{word}"'),
        run("evaluate", "run"),
        run("predict", "run", "-i", "d.hdf5", "-o", "out.npz"),
    ):
        assert result.exit_code == 0, result.stderr
        assert ("warning[OP0657]" in result.stderr) is warned
    assert yaml.safe_load((here / "run/settings.yaml").read_text())["data"]["coordinates"] == word


def test_walls_declared_periodic_are_refused(here):
    write(here / "d.hdf5", np.arange(8) / 8, np.arange(4) / 4)
    result = trained(here, UNIT.replace("min", "boundary = periodic, min"))
    assert result.exit_code == 4
    said = " ".join(result.stderr.split())
    assert "error[OP0658]" in said
    assert "the file: boundary of x = wall; the program: boundary of x = periodic" in said


def test_a_trained_run_refuses_other_coordinates_unless_told(here):
    write(here / "d.hdf5", np.linspace(0, 1, 9), np.linspace(0, 1, 5))
    assert trained(here, UNIT).exit_code == 0
    write(here / "e.hdf5", np.linspace(0, 2, 9), np.linspace(0, 1, 5))
    for command in (
        ("evaluate", "run", "--data", "e.hdf5"),
        ("predict", "run", "-i", "e.hdf5", "-o", "out.npz"),
    ):
        result = run(*command)
        assert result.exit_code == 4
        assert "the file: x = 0 .. 2; the program: x: 0..1" in " ".join(result.stderr.split())
        good(*command, "--coordinates", "ignore")
    assert run("evaluate", "run", "--coordinates", "perhaps").exit_code != 0
    report = opdsl.open_run("run", coordinates="ignore").evaluate("e.hdf5")
    assert report.rows()


def test_a_run_of_an_earlier_version_warns(here):
    write(here / "d.hdf5", np.linspace(0, 200, 9), np.linspace(0, 1, 5))
    assert trained(here, UNIT, more='coordinates = "ignore"').exit_code == 0
    path = here / "run/settings.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(x for x in lines if "coordinates" not in x))
    for command in (("evaluate", "run"), ("predict", "run", "-i", "d.hdf5", "-o", "out.npz")):
        result = run(*command)
        assert result.exit_code == 0
        assert "warning[OP0657]" in result.stderr
        assert "earlier version" in result.stderr
    assert opdsl.open_run("run").settings.data.coordinates == "warn"


def test_runs_of_the_fixtures_are_read_with_warnings():
    run_of_old = opdsl.open_run(ROOT / "tests/fixtures/c7bf416/runs/grid")
    assert run_of_old.settings.data.coordinates == "warn"


def test_rows_from_the_south_are_flipped_in_training_and_prediction(here):
    north, east = 90 - (np.arange(6) + 0.5) * 30, np.arange(8) * 45.0
    write(here / "d.hdf5", north[::-1], east, ("lat", "lon"))
    result = trained(here, "sphere(lat, lon, sampling = centres)")
    assert result.exit_code == 0, result.stderr
    assert "warning[OP0659]" in result.stderr
    said = run("predict", "run", "-i", "d.hdf5", "-o", "out.npz")
    assert "warning[OP0659]" in said.stderr
    found = np.load("out.npz")["u"][:, 0]
    with h5py.File("d.hdf5") as file:
        a = file["t0_fields/a"][()]
    likeness = [np.corrcoef(x.ravel(), found.ravel())[0, 1] for x in (a[:, ::-1], a)]
    assert abs(likeness[0]) > 0.999  # the model is w a + b
    assert abs(likeness[1]) < 0.5


@pytest.mark.parametrize(
    ("command", "spec"),
    [
        (("darcy", "--fine", 33), "fno_darcy"),
        (("poisson",), "poisson"),
        (("wave", "--sampling", "centres"), "grid"),
        (("reaction-diffusion", "--sampling", "interior"), "grid"),
        (("burgers", "--sampling", "lower"), "line"),
    ],
)
@pytest.mark.usefixtures("here")
def test_the_files_of_the_generators_agree_with_their_programs(command, spec):
    good("data", "generate", *command, "--resolution", 17, "--samples", 2, "-o", "d.hdf5")
    fields = opdsl.open_dataset("d.hdf5")
    sampling = command[2] if "--sampling" in command else "both"
    axes = ", ".join(f"{x}: 0..1" for x in fields.axes)
    domain = f"grid({axes}, boundary = dirichlet, sampling = {sampling}, min = 3)"
    text = PROGRAM.format(domain=domain, path="d.hdf5", more="")
    graph = opdsl.load(text) if spec in {"grid", "line"} else opdsl.load(ROOT / f"specs/{spec}.op")
    from opdsl.workflow.datasets.coordinates.comparison import compare_with_domains

    assert set(fields.coordinates) == set(fields.axes)
    assert compare_with_domains((*graph.inputs, *graph.outputs), fields, "check") == (fields, ())


def test_predictions_of_a_run_agree_with_its_program(here):
    x, y = np.linspace(0, 1, 9), np.linspace(0, 1, 5)
    write(here / "d.hdf5", x, y)
    assert trained(here, UNIT).exit_code == 0
    good("predict", "run", "-i", "d.hdf5", "-o", "out.hdf5")
    found = opdsl.open_dataset("out.hdf5").coordinates
    np.testing.assert_allclose(found["x"].values, x, atol=1e-7)
    result = trained(here, UNIT, "out.hdf5", "fields { a = u u = u }", "again")
    assert result.exit_code == 0, result.stderr
