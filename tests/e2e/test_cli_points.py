"""Training, evaluation and prediction on points, from a program to files."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from opdsl import Geometry, Packed
from opdsl.data import open_dataset
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import points
from opdsl.nn.points.batch import select
from tests.e2e.command_line import data, good, run

CARS = Path(__file__).parents[3] / "shared/data/neuraloperator/mini_car.pt"

PROGRAM = """edition 2026

from std.pointwise import Lift, Project

model Cloud {{
  domain P = points(2{geometry})
  input f : P -> R^2
  output u : P -> R^1

  h = concat(f, coords(P)) |> Lift(out = 6) |> gno(to = P, radius = 0.6, kernel = [8])
  u = concat(h, f) |> Project(out = 1, hidden = 12)
}}

train Cloud {{
  data {{ path = "train.h5" test = "test.h5" }}
  optimizer adamw {{ lr = 1e-2 }}
  schedule constant {{ epochs = 8 }}
  batch = 3
  device = cpu
}}
"""


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def truth(f, where):
    return f[:1] * where.T[:1] + f[1:]


def per_sample(sizes, seed=0):
    """Samples of these numbers of points."""
    where = [random(n, 2, seed=seed + i) for i, n in enumerate(sizes)]
    f = [random(2, n, seed=seed + 70 + i) for i, n in enumerate(sizes)]
    values = {
        "f": Packed.of(f),
        "u": Packed.of(truth(x, p) for x, p in zip(f, where, strict=True)),
    }
    return _raw(values, tuple(Geometry(x) for x in where))


def shared(samples, seed=0):
    """As many samples on the same twenty points."""
    where = random(20, 2, seed=5)
    f = random(samples, 2, 20, seed=seed)
    return _raw({"f": f, "u": torch.stack([truth(x, where) for x in f])}, (Geometry(where),))


def _raw(values, placed):
    roles = {"f": "input", "u": "output"}
    return FileFields(
        "cloud", values, roles, (), "periodic", {"P": placed}, dict.fromkeys(values, "P")
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(geometry):
    said = "" if geometry == "shared" else ", geometry = per_sample"
    Path("cloud.op").write_text(PROGRAM.format(geometry=said))
    if geometry == "shared":
        sets = {"train": shared(7), "test": shared(3, seed=50)}
    else:
        sets = {"train": per_sample((14, 9, 20, 11, 16, 12, 10)), "test": per_sample((13, 8), 30)}
    for name, raw in sets.items():
        points.write(Path(f"{name}.h5"), raw)
    return sets


@pytest.mark.parametrize(
    ("geometry", "extent"), [("shared", "20 points"), ("per_sample", "8 to 13 points")]
)
def test_a_model_on_points_is_trained_evaluated_and_applied(folder, geometry, extent):
    sets = prepare(geometry)
    summary = data("train", "cloud.op", "--out", "run", "-q", "--json")
    (row,) = summary["tests"]
    assert row["set"] == extent
    assert row["rel_h1"] is None
    history = [json.loads(x) for x in (folder / "run/metrics.jsonl").read_text().splitlines()]
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]
    (again,) = data("evaluate", "run", "--json")["tests"]
    assert again["rel_l2"] == pytest.approx(row["rel_l2"], rel=1e-5)

    good("predict", "run", "--input", "test.h5", "--output", "out.h5")
    found = open_dataset("out.h5")
    truths = sets["test"].values["u"]
    assert found.homes == {"u": "P"}
    wanted = sets["test"].places["P"]
    assert all(x.points.equal(y.points) for x, y in zip(found.places["P"], wanted, strict=True))
    pairs = zip(*(getattr(x, "parts", x) for x in (found.values["u"], truths)), strict=True)
    errors = [float((p - t).norm() / t.norm()) for p, t in pairs]
    assert sum(errors) / len(errors) == pytest.approx(row["rel_l2"], rel=1e-4)
    assert "data:image/png" in (folder / "run/report.html").read_text()


def test_a_run_on_points_that_was_cut_goes_on_bit_for_bit(folder):
    prepare("per_sample")
    good("train", "cloud.op", "--out", "whole", "-q")
    good("train", "cloud.op", "--out", "cut", "-q")
    for path in sorted((folder / "cut/checkpoints").glob("step-*"))[1:]:
        shutil.rmtree(path)  # as if it had not come so far
    good("train", "cloud.op", "--out", "cut", "-q", "--resume")
    a, b = (torch.load(_last(folder / x), weights_only=True) for x in ("whole", "cut"))
    assert all(torch.equal(x, b["module"][k]) for k, x in a["module"].items())


def _last(folder):
    return max((folder / "checkpoints").glob("step-*")) / "state.pt"


@pytest.mark.usefixtures("folder")
def test_predictions_on_points_are_written_as_arrays_too():
    prepare("per_sample")
    good("train", "cloud.op", "--out", "run", "-q", "--epochs", 1)
    good("predict", "run", "--input", "test.h5", "--output", "out.npz")
    with np.load("out.npz") as held:
        assert held["u"].shape == (1, 1, 21)
        assert held["u_sizes"].tolist() == [13, 8]


def test_predictions_never_overwrite_their_inputs(folder):
    prepare("per_sample")
    before = {x: x.read_bytes() for x in folder.iterdir()}
    for path in ("test.h5", folder / "test.h5"):
        told = run("predict", "run", "--input", "test.h5", "--output", path)
        assert told.exit_code == 2
        assert "would overwrite what is read" in told.stderr
    assert {x: x.read_bytes() for x in folder.iterdir()} == before


def test_points_of_each_sample_for_a_shared_domain_are_refused_before_training(folder):
    prepare("per_sample")
    Path("cloud.op").write_text(PROGRAM.format(geometry=""))
    told = run("train", "cloud.op", "--out", "run", "-q")
    assert told.exit_code == 4
    assert "OP0613" in told.stderr
    assert "geometry = per_sample" in told.stderr
    assert not (folder / "run").exists()


@pytest.mark.usefixtures("folder")
def test_data_show_tells_of_points():
    prepare("per_sample")
    told = good("data", "show", "train.h5")
    assert "P  9 to 20 points in R^2, for each sample" in told
    rows = data("data", "show", "train.h5", "--json")["fields"]
    assert [(x["field"], x["on"], x["samples"]) for x in rows] == [("f", "P", 7), ("u", "P", 7)]


BAND = """
model Cloud {
  domain P = points(2, geometry = per_sample)
  input f : P -> R^2
  output u : P -> R^1
  output w : P -> R^1

  u = concat(f, coords(P)) |> linear(out = 1)
  w = concat(f, coords(P)) |> linear(out = 1) |> softplus()
}

train Cloud {
  data { path = "train.h5" test = "test.h5" }
  band { of = u width = w alpha = 0.3 }
  schedule constant { epochs = 2 }
  device = cpu
}
"""


@pytest.mark.usefixtures("folder")
def test_a_band_around_a_function_on_points_is_learnt_calibrated_and_written():
    prepare("per_sample")
    point = BAND.replace("  output w : P -> R^1\n", "").split("  w =")[0] + "}\n"
    train = BAND[BAND.index("train Cloud") :].replace(
        "  band { of = u width = w alpha = 0.3 }\n", ""
    )
    Path("point.op").write_text(f"edition 2026\n{point}\n{train}")
    Path("band.op").write_text(f"edition 2026\n{BAND}")
    good("train", "point.op", "--out", "point", "-q")
    good("train", "band.op", "--from", "point", "--out", "band", "-q")
    told = data("calibrate", "band", "--data", "train.h5", "--delta", 0.3, "--json")
    assert told["samples"] == 7
    good("predict", "band", "--input", "test.h5", "--output", "out.h5")
    found = open_dataset("out.h5").values
    width = told["factor"] * found["w"].values.clamp_min(0)
    torch.testing.assert_close(found["u_upper"].values - found["u"].values, width)
    assert found["u_lower"].sizes == (13, 8)


# ------------------------------------------------------------------------------ published cars

GINO = """edition 2026

from std.fourier import FNOBlock
from std.pointwise import Lift, Project

model Cars {
  domain P = points(3, geometry = per_sample)
  domain L = grid(x: 0..1, y: 0..1, z: 0..1, min = 16)
  input normals : P -> R^3
  input distance : L -> R^1
  output press : P -> R^1

  shape = concat(normals, coords(P))
    |> Lift(out = 8)
    |> gno(to = L, radius = 0.15, kernel = [16], reduction = mean, empty = nearest)
  h = concat(shape, distance, coords(L))
    |> Lift(out = 8)
    |> repeat 2 { FNOBlock(modes = 4) } # op: allow(fourier-on-nonperiodic)
  back = concat(h, coords(L)) |> gno(to = P, radius = 0.12, kernel = [16], reduction = mean)
  press = concat(back, normals, coords(P)) |> Project(out = 1)
}

train Cars {
  data { path = "cars.h5" test_samples = 1 fields { normals = "vertex_normals" } }
  optimizer adamw { lr = 1e-2 }
  schedule one_cycle { epochs = 20 }
  batch = 2
  device = cpu
}
"""


def history(run_folder):
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(x)["train_loss"] for x in lines]


@pytest.mark.slow
@pytest.mark.skipif(not CARS.exists(), reason="the published data are not on this machine")
def test_a_batch_of_cars_of_different_sizes_teaches_of_a_third_of_any_size(folder):
    cars = open_dataset(CARS)
    points.write(Path("cars.h5"), coarser(cars, (1, 2, 1)))
    Path("cars.op").write_text(GINO)
    summary = data("train", "cars.op", "--out", "run", "-q", "--json")
    losses = history(folder / "run")
    assert losses[-1] < 0.8 * losses[0]
    (third,) = summary["tests"]
    assert third["rel_l2"] < 0.85  # nothing learnt: 1
    points.write(Path("coarse.h5"), coarser(cars, (1, 1, 2), last=True))
    (coarse,) = data("evaluate", "run", "--data", "coarse.h5", "--json")["tests"]
    assert (coarse["set"], coarse["samples"]) == ("1793 points", 1)
    assert coarse["rel_l2"] == pytest.approx(third["rel_l2"], rel=0.1)
    good("predict", "run", "--input", "cars.h5", "--output", "out.h5")
    with h5py.File("out.h5") as file:
        assert file["geometry/P/offsets"][()].tolist() == [0, 3586, 5379, 8965]
        assert np.isfinite(file["fields/press"][()]).all()


def coarser(cars, thin, *, last=False):
    """Every k-th vertex of each car, or the last car alone."""
    values = {
        k: Packed.of(p[:, ::n] for p, n in zip(cars.values[k].parts, thin, strict=True))
        for k in ("vertex_normals", "press")
    }
    places = tuple(
        Geometry(x.points[::n]) for x, n in zip(cars.places["vertices"], thin, strict=True)
    )
    values |= {"distance": cars.values["distance"]}
    if last:
        values = {k: select(x, [2]) for k, x in values.items()}
    return FileFields(
        name="coarse",
        values=values,
        roles=dict.fromkeys(values, "unknown"),
        axes=cars.axes,
        layout="periodic",
        places={"vertices": places[2:] if last else places},
        homes=dict.fromkeys(("vertex_normals", "press"), "vertices"),
    )
