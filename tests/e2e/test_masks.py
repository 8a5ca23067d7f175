"""Runs on functions with masks and missing values: what lies below a mask changes no number."""

import json
import warnings

import h5py
import numpy as np
import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError
from opdsl.train.metrics.quadrature import grid_weights
from opdsl.workflow.errors import OpWarning
from tests.e2e.command_line import good, run

RNG = np.random.default_rng(4)
N, SIZE = 8, 12
PROGRAM = """edition 2026
model M {{
  domain D = {domain}
  input a : D -> R^1
  output u : D -> R^{channels}
  {feedback}
  u = a |> linear(out = 4) |> gelu() |> linear(out = {channels})
}}
train M {{
  data {{ path = "f.npz" {data} }}
  {more}
  schedule cosine {{ epochs = 1 }}
  optimizer adam {{ lr = 1e-2 }}
  batch = 4
}}
"""
GRID = "grid(x: 0..1, y: 0..1, boundary = periodic, min = 4)"


def program(data="", domain=GRID, channels=1, feedback="", more=""):
    return PROGRAM.format(domain=domain, data=data, channels=channels, feedback=feedback, more=more)


def in_memory(data=""):
    """The program with settings that apply to any data, since it names no file."""
    return program(data).replace('path = "f.npz"', "")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def functions(*shape):
    a = RNG.normal(size=shape).astype(np.float32)
    return a, (2 * a + 1).astype(np.float32)


def trained(here, folder, text, arrays):
    """The errors of a run on arrays, as the metrics log and the evaluation have them."""
    np.savez(here / "f.npz", **arrays)
    (here / "m.op").write_text(text)
    good("train", "m.op", "--out", folder)
    log = [json.loads(x) for x in (here / folder / "metrics.jsonl").read_text().splitlines()]
    losses = [x["loss"] for x in log if "loss" in x]
    row = json.loads(good("evaluate", folder, "--data", "f.npz", "--json"))["tests"][0]
    good("predict", folder, "-i", "f.npz", "-o", f"{folder}.npz")
    with np.load(f"{folder}.npz") as file:
        predictions = file["u"]
    return losses, {k: row[k] for k in ("rel_l2", "rmse", "max_error", "samples")}, predictions


@pytest.mark.parametrize(
    "layout",
    ["per_sample", *(pytest.param(x, marks=pytest.mark.slow) for x in ("shared", "inverted"))],
)
def test_what_lies_below_a_mask_changes_nothing(here, layout):
    a, u = functions(N, SIZE, SIZE)
    land = RNG.random((SIZE, SIZE) if layout == "shared" else (N, SIZE, SIZE)) > 0.3
    valid = np.broadcast_to(land, u.shape)
    stored = ~land if layout == "inverted" else land
    text = program(f'masks {{ u = "{"~" * (layout == "inverted")}land" }}')
    results = [
        trained(here, f"run{i}", text, {"a": a, "u": np.where(valid, u, below), "land": stored})
        for i, below in enumerate((0.0, 1e30, np.nan))
    ]
    for losses, errors, predictions in results[1:]:
        assert losses == results[0][0]
        assert errors == results[0][1]
        assert np.array_equal(predictions, results[0][2])
    _, errors, predictions = results[0]
    away = (predictions[:, 0] - u)[valid]
    assert errors["rmse"] == pytest.approx(float(np.sqrt(np.mean(away**2))), rel=1e-5)
    assert errors["max_error"] == pytest.approx(float(np.abs(away).max()), rel=1e-5)
    relative = [
        np.linalg.norm((predictions[i, 0] - u[i])[valid[i]]) / np.linalg.norm(u[i][valid[i]])
        for i in range(N)
    ]
    assert errors["rel_l2"] == pytest.approx(float(np.mean(relative)), rel=1e-5)
    assert (here / "run0" / "report.html").exists()


def test_missing_values_are_refused_unless_the_program_masks_them(here):
    a, u = functions(N, SIZE, SIZE)
    a[1, 2:5, 3], u[3, 0, 0] = np.nan, np.nan
    np.savez("f.npz", a=a, u=u)
    (here / "m.op").write_text(program())
    refused = run("train", "m.op", "--out", "run")
    assert "OP0612" in refused.stderr
    assert "missing = mask" in refused.stderr
    (here / "m.op").write_text(program("missing = mask"))
    result = run("train", "m.op", "--out", "run")
    assert result.exit_code == 0, result.stderr
    said = " ".join(result.stderr.split())
    assert "OP0680" in said
    assert "`a`: 3 values are missing in 1 of 8 samples" in said
    assert "the mean of the channel in the sample" in said
    assert "`u`: 1 value is missing in 1 of 8 samples: left out" in said
    good("predict", "run", "-i", "f.npz", "-o", "p.npz")
    with np.load("p.npz") as file:
        assert np.isfinite(file["u"]).all()


def test_missing_inputs_are_filled_with_the_mean_or_a_number(here):
    a, u = functions(N, SIZE, SIZE)
    a[0, :3] = np.nan
    complete = {}
    for fill in ("mean", "0.5"):
        text = in_memory(f"missing = mask fill = {fill}")
        with pytest.warns(OpWarning, match="OP0680"):
            run = opdsl.train(text, data={"a": a, "u": u}, out=here / fill)
        value = np.nanmean(a[0]) if fill == "mean" else 0.5
        complete[fill] = np.where(np.isnan(a), value, a).astype(np.float32)
        found, expected = (run.predict(x[:, None]) for x in (a, complete[fill]))
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_masks_and_missing_values_of_packed_netcdf_variables(here):
    """`_FillValue` is a missing value; the mask has neither samples nor times."""
    values = RNG.integers(-99, 99, size=(9, SIZE, SIZE)).astype("i2")
    values[:, 3, 4] = -32768
    with h5py.File("f.nc", "w") as file:
        file.attrs["_NCProperties"] = "version=2"
        for name, n in {"time": 9, "x": SIZE, "y": SIZE}.items():
            file[name] = np.arange(n) / n
            file[name].make_scale(name)
        file["z"], file["sea"] = values, RNG.random((SIZE, SIZE)) > 0.3
        file["z"].attrs.update(scale_factor=0.5, add_offset=10.0)
        file["z"].attrs["_FillValue"] = np.int16(-32768)
        for name, axes in {"z": ("time", "x", "y"), "sea": ("x", "y")}.items():
            for i, axis in enumerate(axes):
                file[name].dims[i].attach_scale(file[axis])
        sea = file["sea"][:].astype(bool)
    data = """fields { a = "z" u = "z" } masks { u = "sea" } windows { first = 0 }
    missing = mask coordinates = ignore"""
    text = program(data, feedback="feedback u -> a", more="rollout = 2").replace("f.npz", "f.nc")
    (here / "m.op").write_text(text)
    result = run("train", "m.op", "--out", "run")
    assert result.exit_code == 0, result.stderr
    row = json.loads(good("evaluate", "run", "--data", "f.nc", "--json"))["tests"][0]
    good("predict", "run", "-i", "f.nc", "-o", "p.npz")
    with np.load("p.npz") as file:
        predicted = file["u"]
    truth = np.stack([values[i + 1 : i + 3] * 0.5 + 10 for i in range(7)])[:, :, None]
    valid = np.broadcast_to(sea & (values[0] != -32768), truth.shape)
    away = (predicted - truth)[valid]
    assert row["rmse"] == pytest.approx(float(np.sqrt(np.mean(away**2))), rel=1e-5)
    assert len(row["steps"]) == 2


def test_a_mask_multiplies_the_weights_of_latitudes(here):
    a, u = functions(N, SIZE, 2 * SIZE)
    land = RNG.random(u.shape[1:]) > 0.5
    domain = "sphere(lat, lon, sampling = equiangular, min = (4, 8))"
    text = program('masks { u = "land" }', domain=domain)
    results = [
        trained(here, f"run{i}", text, {"a": a, "u": np.where(land, u, below), "land": land})
        for i, below in enumerate((0.0, 1e30))
    ]
    assert results[0][1] == results[1][1]
    _, errors, predictions = results[0]
    weights = land * grid_weights(("equiangular", None), u.shape[1:])[0, 0].numpy()
    squares = (predictions[:, 0] - u) ** 2 * weights
    expected = np.sqrt(squares.sum() / (N * weights.sum()))
    assert errors["rmse"] == pytest.approx(float(expected), rel=1e-5)


def test_masks_of_arrays_in_memory_and_of_data_sets_of_torch(here):
    a, u = (x[:, None] for x in functions(N, SIZE, SIZE))
    mask = RNG.random(u.shape) > 0.3
    text = in_memory()
    wrong = np.where(mask, u, 1e30)
    run = opdsl.train(text, data={"a": a, "u": wrong, "masks": {"u": mask}}, out=here / "arrays")

    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return N

        def __getitem__(self, i):
            return {"a": a[i], "u": wrong[i], "masks": {"u": mask[i]}}

    other = opdsl.train(text, data=Items(), out=here / "items")
    assert np.array_equal(run.predict(a), other.predict(a))
    report = run.evaluate({"a": a, "u": wrong, "masks": {"u": mask}})
    away = (run.predict(a) - u)[mask]
    assert report["12x12"].rmse == pytest.approx(float(np.sqrt(np.mean(away**2))), rel=1e-5)
    assert report["12x12"].max_error < 100


def test_a_sample_without_values_is_left_out_and_reported(here):
    a, u = functions(N, SIZE, SIZE)
    u[2] = np.nan
    np.savez("f.npz", a=a, u=u)
    (here / "m.op").write_text(program("missing = mask valid = none"))
    result = run("train", "m.op", "--out", "run")
    assert "OP0682" in result.stderr
    row = json.loads(good("evaluate", "run", "--data", "f.npz", "--json"))["tests"][0]
    assert np.isfinite(row["rel_l2"])
    assert "zero_samples" not in row


POINTS = """edition 2026
model M {
  domain P = points(2, geometry = per_sample)
  output s : P -> R^1
  s = coords(P) |> linear(out = 8) |> gelu() |> linear(out = 1)
}
train M { schedule cosine { epochs = 1 } batch = 2 }
"""


def test_masks_on_points_that_each_sample_has_of_its_own(here):
    places = [RNG.random((n, 2)).astype(np.float32) for n in (5, 7, 6, 9)]
    s = [x[None, :, 0] for x in places]
    mask = [RNG.random(x.shape[-1]) > 0.4 for x in s]
    for m in mask:
        m[0] = True
    wrong = [np.where(m, x, np.nan) for x, m in zip(s, mask, strict=True)]
    data = {"P": places, "s": wrong, "masks": {"s": mask}}
    run = opdsl.train(POINTS, data=data, valid="none", out=here / "run")
    (errors,) = run.evaluate(data).sets
    predicted = run.predict(P=[torch.from_numpy(x) for x in places])
    away = [
        (torch.as_tensor(p) - torch.as_tensor(x))[:, torch.as_tensor(m)]
        for p, x, m in zip(predicted, s, mask, strict=True)
    ]
    rmse = float(torch.cat(away, 1).square().mean().sqrt())
    assert errors.metrics.rmse == pytest.approx(rmse, rel=1e-5)


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        ('masks { u = "land" }', "loss = h1", "`loss = h1` takes derivatives"),
        ("missing = mask", "symmetries = reflect(x)", "`symmetries`"),
        ('masks { w = "land" }', "", "a mask is named for `w`"),
        ('masks { u = ["land", "~land"] }', "", "`u` has 1 channels and 2 masks"),
        ('masks { u = "lnd" }', "", "`data { masks { u ="),
        ('masks { u = "part" }', "", "holds 0.5, expected 0 and 1"),
        ("missing = drop", "", "one of refuse, mask"),
    ],
)
def test_masks_that_do_not_fit_are_refused_before_a_run_begins(here, data, more, said):
    a, u = functions(N, SIZE, SIZE)
    part, land = np.full((SIZE, SIZE), 0.5), np.ones((SIZE, SIZE))
    land[0, 0] = 0
    u[0, 1, 1] = np.nan if "missing" in data else u[0, 1, 1]
    np.savez("f.npz", a=a, u=u, land=land, part=part)
    (here / "m.op").write_text(program(data, more=more))
    result = run("train", "m.op", "--out", "run")
    assert result.exit_code
    assert said in " ".join(result.stderr.split())
    assert result.stderr.count("error[") == 1
    assert not (here / "run").exists()


def test_arrays_in_memory_need_the_masks_that_the_program_names(here):
    a, u = (x[:, None] for x in functions(N, SIZE, SIZE))
    with pytest.raises(OpError, match="masks") as raised, warnings.catch_warnings():
        opdsl.train(in_memory('masks { u = "land" }'), data={"a": a, "u": u}, out=here / "run")
    assert [x.code for x in raised.value.diagnostics] == ["OP0681"]
    with pytest.raises(OpError) as raised:
        opdsl.train(in_memory(), data={"a": a, "u": u, "masks": {"u": u[:3]}}, out=here / "run")
    assert [x.code for x in raised.value.diagnostics] == ["OP0681"]


def test_a_large_set_is_read_batch_by_batch_with_equal_results(here):
    """Masks and missing values are read with the samples; fingerprints are equal, too."""
    a, u = functions(N, SIZE, SIZE)
    sea = RNG.random(u.shape) > 0.3
    a[6, 2], u[7, 3] = np.nan, np.nan
    np.savez("f.npz", a=a, u=np.where(sea, u, 1e30), sea=sea)
    found = []
    for memory in ("1 GB", "1 kB"):
        data = f'masks {{ u = "sea" }} missing = mask memory = "{memory}" workers = 0 valid = none'
        (here / "m.op").write_text(program(data))
        result = run("train", "m.op", "--out", memory)
        assert result.exit_code == 0, result.stderr
        about = json.loads((here / memory / "opdsl.json").read_text())
        warned = result.stderr[result.stderr.index("warning[OP0680]") :]
        good("predict", memory, "-i", "f.npz", "-o", f"{memory}.npz")
        with np.load(f"{memory}.npz") as file:
            found.append((about["data"], about["finished"], warned, file["u"]))
    (data, errors, warned, values), other = found
    assert data == other[0]
    assert errors == other[1]
    assert warned.partition("epoch")[0] == other[2].partition("epoch")[0]
    assert np.allclose(values, other[3], rtol=1e-6)
