"""Files in published layouts are trained on, measured and predicted from, or refused with a reason.

Each file is written here in the exact layout: names, order of axes, formats of numbers.
"""

import json
import pickle

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from safetensors.numpy import save_file

import opdsl
from opdsl.compiler import read
from opdsl.diagnostics import OpError
from opdsl.workflow.datasets.binding import binding_of
from opdsl.workflow.datasets.division import divide
from opdsl.workflow.datasets.reading.sources import Sources
from opdsl.workflow.programs.program import open_program, resolve_settings
from tests.e2e.command_line import good, run

RNG = np.random.default_rng(0)
GRID = np.linspace(0, 1, 32, endpoint=False, dtype=np.float32)
OUT = "v = u |> linear(out = 4) |> gelu() |> linear(out = {c})"

PROGRAM = """edition 2026
model M {{
  domain D = grid({axes}, boundary = periodic, min = 9)
  input u : D -> R^{c}
  output v : D -> R^{c}
  feedback v -> u
  {body}
}}
train M {{
  data {{ path = "{path}" {data} }}
  {rollout}
  schedule cosine {{ epochs = 1 }}
  batch = 4
}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def grid_program(path, *, axes=2, channels=1, data="", steps=None):
    names = ", ".join(f"{x}: 0..1" for x in "xyz"[:axes])
    rollout = f"rollout = {steps}" if steps else ""
    body = OUT.format(c=channels)
    c = channels
    return PROGRAM.format(axes=names, c=c, path=path, data=data, rollout=rollout, body=body)


def field(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, x in arrays.items():
            file[name.replace("__", "/").replace("_coordinate", "-coordinate")] = x


def pdebench_1d():
    hdf5("f.h5", tensor=field(6, 11, 32), x_coordinate=GRID, t_coordinate=np.arange(12.0))
    return grid_program("f.h5", axes=1, data="windows { steps = 2 }", steps=2), "f.h5", 6 * 9


def pdebench_flow():
    arrays = {k: field(4, 5, 16, 16) for k in ("density", "pressure", "Vx", "Vy")}
    hdf5("f.h5", **arrays, x_coordinate=GRID[::2], y_coordinate=GRID[::2])
    return grid_program("f.h5", channels=4, data="windows {  every = 2 }", steps=2), "f.h5", 4 * 2


def pdebench_groups():
    for i in range(5):
        with h5py.File("f.h5", "a") as file:
            file[f"{i:04}/data"] = field(6, 16, 16, 2)
            file[f"{i:04}/grid/x"] = GRID[::2]
    return grid_program("f.h5", channels=2, data="windows { first = 1 }", steps=1), "f.h5", 5 * 4


def pdebench_darcy():
    hdf5("f.h5", nu=field(6, 16, 16), tensor=field(6, 1, 16, 16), x_coordinate=GRID[::2])
    return grid_program("f.h5"), "f.h5", 6


def well_trajectories():
    with h5py.File("f.hdf5", "w") as file:
        file.create_group("dimensions").attrs["spatial_dims"] = ["x", "y"]
        for axis in "xy":
            file[f"dimensions/{axis}"] = GRID[::2]
        file["dimensions/time"] = np.arange(7.0)
        file["t1_fields/velocity"] = field(3, 7, 16, 16, 2)
        flags = {"sample_varying": True, "time_varying": True, "dim_varying": [True, True]}
        file["t1_fields/velocity"].attrs.update(flags)
    data = 'fields { u = "velocity" v = "velocity" } windows { first = 0 }'
    return grid_program("f.hdf5", channels=2, data=data, steps=2), "f.hdf5", 3 * 5


def fno_matlab_5():
    scipy.io.savemat("f.mat", {"a": field(8, 32), "u": field(8, 32)})
    return grid_program("f.mat", axes=1), "f.mat", 8


def fno_matlab_73():
    with h5py.File("f.mat", "w", userblock_size=512) as file:
        for name, x in {"a": field(5, 16, 16), "u": field(5, 16, 16, 7)}.items():
            file[name] = x.T
        file["t"] = np.arange(7.0)[:, None]
    with open("f.mat", "r+b") as file:  # noqa: PTH123
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return grid_program("f.mat", data="windows { first = 0 }", steps=2), "f.mat", None


def lno_splits():
    parts = (("train", 8), ("vali", 4), ("test", 4))
    arrays = {f"{k}_{part}": field(n, 32) for part, n in parts for k in "fu"}
    scipy.io.savemat("f.mat", arrays)
    data = 'fields { u = "f_{split}" v = "u_{split}" }'
    return grid_program("f.mat", axes=1, data=data), "f.mat", 4


def physicsnemo_darcy():
    hdf5("f.h5", Kcoeff=field(6, 1, 16, 16), sol=field(6, 1, 16, 16))
    return grid_program("f.h5"), "f.h5", 6


def names_of_ones_own():
    np.savez("f.npz", coef=field(6, 16, 16), sol=field(6, 16, 16))
    return grid_program("f.npz", data='fields { u = "coef" v = "sol" }'), "f.npz", 6


def safetensors_file():
    save_file({"u": field(6, 16, 16), "v": field(6, 16, 16)}, "f.safetensors")
    return grid_program("f.safetensors"), "f.safetensors", 6


def tuple_of_tensors():
    torch.save((torch.randn(6, 16, 16), torch.randn(6, 16, 16)), "f.pt")
    return grid_program("f.pt", data='fields { u = "0" v = "1" }'), "f.pt", 6


def two_files():
    np.save("in.npy", field(6, 16, 16))
    np.save("out.npy", field(6, 16, 16))
    return grid_program("*.npy", data='fields { u = "in.npy" v = "out.npy" }'), "*.npy", 6


def one_file_for_each_sample():
    for i in range(6):
        np.savez(f"s{i}.npz", u=field(16, 16), v=field(16, 16))
    axes = "axes { u = (x, y) v = (x, y) }"
    return grid_program("s*.npz", data=axes), "s*.npz", 6


def channels_last():
    np.savez("f.npz", u=field(6, 16, 16, 2), v=field(6, 16, 16, 2))
    return grid_program("f.npz", channels=2), "f.npz", 6


def weather():
    with scipy.io.netcdf_file("f.nc", "w") as file:
        for name, x in {"time": np.arange(9.0), "lat": GRID[::2], "lon": GRID}.items():
            file.createDimension(name, len(x))
            file.createVariable(name, "f8", (name,))[:] = x
        z = file.createVariable("z", "i2", ("time", "lat", "lon"))
        z[:] = RNG.integers(-99, 99, size=(9, 16, 32))
        z.scale_factor, z.add_offset = 0.5, 10.0
    return latitudes("f.nc"), "f.nc", 8


def latitudes(path):
    """A program on latitudes and longitudes of the unit square."""
    data = 'fields { u = "z" v = "z" } windows { first = 0 }'
    program = grid_program(path, data=data, steps=1)
    program = program.replace("x: 0..1, y: 0..1", "lat: 0..1, lon: 0..1")
    return program.replace("boundary = periodic", "boundary = none, sampling = lower")


def weather_netcdf_4():
    with h5py.File("f.nc", "w") as file:
        for name, x in {"time": np.arange(9.0), "lat": GRID[::2], "lon": GRID}.items():
            file[name] = x
            file[name].make_scale(name)
        file["z"] = RNG.integers(-99, 99, size=(9, 16, 32)).astype("i2")
        file["z"].attrs.update(scale_factor=0.5, add_offset=10.0)
        for i, name in enumerate(("time", "lat", "lon")):
            file["z"].dims[i].attach_scale(file[name])
    return latitudes("f.nc"), "f.nc", 8


def weather_zarr():
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group("f.zarr", mode="w")
    arrays = {"time": np.arange(9.0), "lat": GRID[::2], "lon": GRID, "z": field(9, 16, 32)}
    for name, x in arrays.items():
        names = ("time", "lat", "lon") if name == "z" else (name,)
        group.create_array(name, data=x, dimension_names=names)
    return latitudes("f.zarr"), "f.zarr", 8


def era5_fields():
    hdf5("f.h5", fields=field(9, 3, 16, 32))
    data = """fields { u = "fields" v = "fields" }
    axes { fields = (time, channel, x, y) } windows { first = 0 }"""
    return grid_program("f.h5", channels=3, data=data, steps=1), "f.h5", 8


def tensor_dataset():
    torch.save(torch.utils.data.TensorDataset(*torch.randn(2, 6, 16, 16)), "f.pt")
    return grid_program("f.pt", data='fields { u = "0" v = "1" }'), "f.pt", 6


def weatherbench():
    """One variable of named dimensions needs no `fields`."""
    program, path, samples = weather()
    data = 'fields { u = "z" v = "z" } windows'
    return program.replace(data, "windows"), path, samples


def several_files():
    hdf5("one.h5", u=field(4, 16, 16), v=field(4, 16, 16))
    hdf5("two.h5", u=field(3, 16, 16), v=field(3, 16, 16))
    program = grid_program("PATH").replace('"PATH"', '["two.h5", "one.h5"]')
    return program, '["two.h5", "one.h5"]', 7


GRIDS = (
    weatherbench,
    several_files,
    pdebench_1d,
    pdebench_flow,
    pdebench_groups,
    pdebench_darcy,
    well_trajectories,
    fno_matlab_5,
    lno_splits,
    physicsnemo_darcy,
    names_of_ones_own,
    safetensors_file,
    tuple_of_tensors,
    two_files,
    one_file_for_each_sample,
    channels_last,
    weather,
    weather_netcdf_4,
    weather_zarr,
    era5_fields,
    tensor_dataset,
)


@pytest.mark.parametrize("layout", GRIDS, ids=lambda x: x.__name__)
def test_a_layout_on_a_grid_is_trained_measured_and_predicted(here, layout):
    program, path, samples = layout()
    (here / "m.op").write_text(program)
    good("train", "m.op", "--out", "run")
    measured = json.loads(good("evaluate", "run", "--data", path, "--json"))
    assert measured["tests"][0]["samples"] == samples
    good("predict", "run", "-i", path, "-o", "p.npz")
    with np.load("p.npz") as file:
        assert len(file["v"]) == samples


def points_program(text, data, domain="points(2, geometry = per_sample)"):
    return f"""edition 2026
model M {{
  domain P = {domain}
  {text}
}}
train M {{
  data {{ {data} }}
  schedule cosine {{ epochs = 1 }}
  batch = 2
}}
"""


GEOMETRY = "output s : P -> R^1\n  s = coords(P) |> linear(out = 8) |> gelu() |> linear(out = 1)"
OPERATOR = """input f : R^20
  output u : P -> R^1
  branch = f |> mlp(widths = [16, 8])
  trunk = coords(P) |> linear(out = 16) |> gelu() |> linear(out = 8)
  u = contract(branch, trunk, out = 1) |> bias()"""


def airfoil_arrays():
    for name in "XY":
        np.save(f"NACA_{name}.npy", field(6, 11, 5))
    np.save("NACA_Q.npy", field(6, 5, 11, 5))
    data = """path = "*.npy"
    fields { P = ["NACA_X.npy", "NACA_Y.npy"] s = "NACA_Q.npy[:, 4]" }
    axes { P = (sample, point, point) s = (sample, point, point) }"""
    return points_program(GEOMETRY, data), "*.npy", "s"


def elasticity_with_samples_last():
    np.save("XY.npy", field(30, 2, 6))
    np.save("sigma.npy", field(30, 6))
    data = """path = "*.npy" fields { P = "XY.npy" s = "sigma.npy" }
    axes { P = (point, coordinate, sample) s = (point, sample) }"""
    return points_program(GEOMETRY, data), "*.npy", "s"


def deeponet_aligned():
    np.savez("f.npz", X_train0=field(6, 20), X_train1=field(30, 2), y_train=field(6, 30))
    return points_program(OPERATOR, 'path = "f.npz"', "points(2)"), "f.npz", "u"


def airfoil_of_geofno():
    """The published names, which need no `fields` and `axes`."""
    for name in "XY":
        np.save(f"NACA_Cylinder_{name}.npy", field(6, 11, 5))
    np.save("NACA_Cylinder_Q.npy", field(6, 5, 11, 5))
    return points_program(GEOMETRY, 'path = "NACA*.npy"'), "NACA*.npy", "s"


def elasticity_of_geofno():
    np.save("Random_UnitCell_XY_10.npy", field(30, 2, 6))
    np.save("Random_UnitCell_sigma_10.npy", field(30, 6))
    program = points_program(GEOMETRY, 'path = "*.npy"')
    return program.replace("data {", "data geofno {"), "*.npy", "s"


@pytest.mark.parametrize(
    "layout",
    [
        airfoil_of_geofno,
        elasticity_of_geofno,
        airfoil_arrays,
        elasticity_with_samples_last,
        deeponet_aligned,
    ],
    ids=lambda x: x.__name__,
)
def test_a_layout_on_points_is_trained_measured_and_predicted(here, layout):
    program, path, output = layout()
    (here / "m.op").write_text(program)
    good("train", "m.op", "--out", "run")
    measured = json.loads(good("evaluate", "run", "--data", path, "--json"))
    assert measured["tests"][0]["samples"] == 6
    good("predict", "run", "-i", path, "-o", "p.npz")
    with np.load("p.npz") as file:
        assert len(file.get(f"{output}_sizes", file[output])) == 6


def test_a_vector_beside_functions_on_a_grid_is_trained_on(here):
    np.savez("f.npz", x=field(20, 16, 16), y=field(20, 16, 16), nu=field(20, 1))
    program = grid_program("f.npz", data='fields { u = "x" v = "y" }')
    program = program.replace("output v", "input nu : R^1\n  output v")
    body = "v = u |> linear(out = 4) |> modulate(mlp(nu, widths = [4, 8])) |> linear(out = 1)"
    (here / "m.op").write_text(program.replace(OUT.format(c=1), body))
    good("train", "m.op", "--out", "run")
    good("predict", "run", "-i", "f.npz", "-o", "p.npz")
    assert "nu =" in (here / "run" / "report.html").read_text()


ROLES = """edition 2026
model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 4)
  input a : D -> R^1
  input s : D -> R^1
  input nu : R^2
  output u : D -> R^1
  u = concat(a, s) |> linear(out = 4) |> modulate(mlp(nu, widths = [4, 8])) |> linear(out = 1)
}
train M { data { DATA } schedule cosine { epochs = 1 } batch = 4 }
"""


def roles():
    return {"a": field(8, 9, 9), "s": field(9, 9), "nu": field(8, 2), "u": field(8, 9, 9)}


@pytest.mark.parametrize("memory", ["1 GB", "1 kB"])
def test_a_static_field_and_a_vector_beside_functions_are_read_from_a_file(here, memory):
    arrays = roles()
    hdf5("f.h5", **arrays)
    data = f'path = "f.h5" memory = "{memory}" workers = 0'
    (here / "m.op").write_text(ROLES.replace("DATA", data))
    good("train", "m.op", "--out", "run")
    good("predict", "run", "-i", "f.h5", "-o", "p.npz")
    static = np.broadcast_to(arrays["s"], (8, 1, 9, 9)).copy()
    expected = opdsl.open_run("run").predict(a=arrays["a"][:, None], s=static, nu=arrays["nu"])
    with np.load("p.npz") as file:
        assert np.allclose(file["u"], expected, rtol=1e-4, atol=1e-5)


class Items(torch.utils.data.Dataset):
    """Samples as ((a, s, nu), u)."""

    def __init__(self, arrays):
        self.arrays = arrays

    def __len__(self):
        return 8

    def __getitem__(self, i):
        x = self.arrays
        return (x["a"][i][None], x["s"][None], x["nu"][i]), x["u"][i][None]


def test_a_static_array_is_that_of_all_samples_from_python_and_of_a_dataset(here):
    arrays = roles()
    text = ROLES.replace("DATA", "valid = none")
    runs = [
        opdsl.train(text, data=x, out=here / str(i)) for i, x in enumerate((arrays, Items(arrays)))
    ]
    one, other = (x.evaluate(arrays).sets[0].metrics for x in runs)
    assert one == other
    assert runs[0].evaluate(Items(arrays)).sets[0].metrics == one
    arrays["s"] = field(8, 8)
    with pytest.raises(OpError):
        opdsl.train(text, data=arrays, out=here / "wrong")


def test_splits_of_one_file_share_a_static_field(here):
    parts = {"train": 8, "valid": 4, "test": 5}
    shapes = {"a": (9, 9), "nu": (2,), "u": (9, 9)}
    arrays = {f"{k}_{p}": field(n, *x) for p, n in parts.items() for k, x in shapes.items()}
    np.savez("f.npz", s=field(9, 9), **arrays)
    fields = " ".join(f'{k} = "{k}_{{split}}"' for k in shapes)
    data = f'path = "f.npz" fields {{ {fields} s = "s" }}'
    (here / "m.op").write_text(ROLES.replace("DATA", data))
    good("train", "m.op", "--out", "run")
    about = json.loads((here / "run" / "opdsl.json").read_text())
    sets = about["finished"]
    counts = [about["data"]["samples"], sets["valid"][0]["samples"], sets["tests"][0]["samples"]]
    assert counts == list(parts.values())
    good("predict", "run", "-i", "f.npz", "-o", "p.npz", "--split", "valid")
    with np.load("p.npz") as file:
        assert len(file["u"]) == 4


def test_the_assumed_layout_is_said_with_the_block_that_says_it(here):
    program, _, _ = pdebench_1d()
    (here / "m.op").write_text(program)
    warned = run("train", "m.op", "--out", "run").stderr
    assert "OP0664" in warned
    assert "PDEBench" in warned
    block = 'fields { u = "tensor" v = "tensor" } axes { tensor = (sample, time, x) }'
    assert block in " ".join(warned.split())
    (here / "m.op").write_text(program.replace("windows {", f"{block} windows {{"))
    assert "OP0664" not in run("train", "m.op", "--out", "again").stderr


def test_coordinates_of_a_published_layout_are_compared_with_the_domain(here):
    program, _, _ = pdebench_1d()
    (here / "m.op").write_text(program.replace("x: 0..1", "x: 0..6.28"))
    result = run("train", "m.op", "--out", "run")
    assert result.exit_code
    assert "OP0657" in result.stderr
    assert "x = 0 .. 0.96875" in result.stderr


@pytest.mark.parametrize(
    ("arrays", "code", "said"),
    [
        ({"coef": (6, 16, 16), "sol": (6, 16, 16)}, "OP0660", "`coef` (6, 16, 16)"),
        ({"u": (6, 10, 16, 16), "v": (6, 16, 16)}, "OP0661", "(sample, time, x, y)"),
    ],
)
def test_unclear_files_are_refused_with_what_they_hold_and_what_to_write(here, arrays, code, said):
    hdf5("f.h5", **{k: field(*x) for k, x in arrays.items()})
    (here / "m.op").write_text(grid_program("f.h5"))
    result = run("train", "m.op", "--out", "run")
    assert result.exit_code
    assert code in result.stderr
    assert said in result.stderr
    assert not (here / "run").exists()


def test_a_curved_grid_of_geofno_is_a_grid_of_indices_for_a_model_on_one(here):
    airfoil_of_geofno()
    program = """edition 2026
model M {
  domain D = grid(i: 0..1, j: 0..1, min = 4)
  input a : D -> R^2
  output q : D -> R^1
  q = a |> linear(out = 4) |> gelu() |> linear(out = 1)
}
train M { data geofno { path = "NACA*.npy" } schedule cosine { epochs = 1 } batch = 4 }
"""
    (here / "m.op").write_text(program)
    warned = " ".join(run("train", "m.op", "--out", "run").stderr.split())
    assert 'a = ["NACA_Cylinder_X.npy", "NACA_Cylinder_Y.npy"]' in warned
    row = json.loads(good("evaluate", "run", "--data", "NACA*.npy", "--json"))["tests"][0]
    assert (row["samples"], row["resolution"]) == (6, [11, 5])


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("pdebench", "the file is not laid out as PDEBench"),
        ("weatherbench", "expected variables whose dimensions are time, lat and lon"),
        ("pdebensh", "did you mean `pdebench`?"),
        ("well", "expected groups `t0_fields`"),
    ],
)
def test_a_word_that_does_not_fit_the_file_is_refused(here, word, said):
    hdf5("f.h5", coef=field(6, 16, 16), sol=field(6, 16, 16))
    (here / "m.op").write_text(grid_program("f.h5").replace("data {", f"data {word} {{"))
    result = run("train", "m.op", "--out", "run")
    text = " ".join(result.stderr.split())
    assert "OP0685" in text
    assert said in text
    assert word == "pdebensh" or "`coef` (6, 16, 16)" in text
    assert result.stderr.count("error[") == 1


def test_a_word_chooses_a_layout_that_is_not_certain(here):
    """Two variables of weather are channels only if the program says so."""
    with h5py.File("f.nc", "w") as file:
        for name, x in {"time": np.arange(9.0), "lat": GRID[::2], "lon": GRID}.items():
            file[name] = x
            file[name].make_scale(name)
        for name in ("t", "z"):
            file[name] = field(9, 16, 32)
            for i, axis in enumerate(("time", "lat", "lon")):
                file[name].dims[i].attach_scale(file[axis])
    program = grid_program("f.nc", channels=2, data="windows { first = 0 }", steps=1)
    program = program.replace("x: 0..1, y: 0..1", "lat: 0..1, lon: 0..1")
    program = program.replace("boundary = periodic", "boundary = none, sampling = lower")
    (here / "m.op").write_text(program)
    assert "OP0660" in run("train", "m.op", "--out", "run").stderr
    (here / "m.op").write_text(program.replace("data {", "data weatherbench {"))
    good("train", "m.op", "--out", "run")


def test_any_other_word_is_a_name_of_the_problem(here):
    program, _, _ = names_of_ones_own()
    (here / "m.op").write_text(program.replace("data {", "data cavity {"))
    good("train", "m.op", "--out", "run")


def test_lists_of_files_are_data_validation_and_test_sets(here):
    """The order of a list is kept: values name their file."""
    for name, value in {"one": 1.0, "two": 2.0, "three": 3.0}.items():
        hdf5(f"{name}.h5", u=value * field(4, 16, 16), v=np.full((4, 16, 16), value))
    data = 'valid = ["three.h5", "one.h5"] test = ["one.h5", ["two.h5", "three.h5"]]'
    program = grid_program("PATH", data=data).replace('"PATH"', '["two.h5", "one.h5"]')
    (here / "m.op").write_text(program)
    good("train", "m.op", "--out", "run")
    about = json.loads((here / "run" / "opdsl.json").read_text())
    assert [x["samples"] for x in about["finished"]["tests"]] == [4, 8]
    assert [x["samples"] for x in about["finished"]["valid"]] == [8]
    opened = open_program(*read("m.op"))
    settings = resolve_settings(opened).settings
    fields = Sources().open(
        settings.data.path, data_map=binding_of(opened.graph, settings).data_map
    )
    assert fields.values["v"][:, 0, 0, 0].tolist() == [2.0] * 4 + [1.0] * 4
    again = opdsl.train(
        program.replace("data {", "data x {").replace(data, ""),
        data=[here / "two.h5", here / "one.h5"],
        valid="none",
        out=here / "again",
    )
    assert again.evaluate([[here / "two.h5", here / "one.h5"]]).sets[0].metrics.samples == 8


def test_files_of_a_list_have_equal_coordinates(here):
    for i, name in enumerate(("one", "two")):
        tensor = field(6, 11, 32)
        hdf5(f"{name}.h5", tensor=tensor, x_coordinate=GRID + i, t_coordinate=np.arange(12.0))
    program = grid_program("PATH", axes=1, data="windows { steps = 2 }", steps=2)
    (here / "m.op").write_text(program.replace('"PATH"', '["one.h5", "two.h5"]'))
    result = run("train", "m.op", "--out", "run")
    assert "the files have other coordinates" in " ".join(result.stderr.split())


@pytest.mark.usefixtures("here")
def test_a_first_program_is_written_for_queries():
    unaligned(np.arange(30))
    good("init", "f.npz", "-o", "m.op")
    assert run("check", "m.op").exit_code == 0
    good("train", "m.op", "--out", "run", "--set", "schedule.epochs=1", "--set", "model.width=8")


def test_no_trajectory_is_both_learnt_from_and_validated_on(here):
    """Values name their trajectory, and windows of the test are longer than those of training."""
    u = np.arange(5.0)[:, None, None] * np.ones((5, 11, 32))
    hdf5("f.h5", tensor=u, x_coordinate=GRID)
    data = "valid = 0.1 windows { first = 0 }"
    program = grid_program("f.h5", axes=1, data=data, steps=2)
    (here / "m.op").write_text(program.replace("rollout = 2", "rollout = 2 eval { rollout = 5 }"))
    program = open_program(*read("m.op"))
    settings = resolve_settings(program).settings
    binding, testing = (binding_of(program.graph, settings, testing=x) for x in (False, True))
    division = divide(settings.data, here, binding, testing, Sources())
    assert sorted(set(division.train.inputs["u"].flatten().tolist())) == [0, 1, 2, 3]
    assert set(division.valid.inputs["u"].flatten().tolist()) == {4}
    assert (len(division.train), len(division.valid)) == (4 * 9, 6)


PER_SAMPLE = "points(2, geometry = per_sample)"


def unaligned(order, points=None):
    """Rows of DeepXDE's unaligned files: 6 functions at sensors, 5 queries of each."""
    sensors = field(6, 20).repeat(5, 0)
    places = field(30, 2) if points is None else points
    np.savez("f.npz", X_train0=sensors[order], X_train1=places[order], y_train=field(30, 1))
    return points_program(OPERATOR, 'path = "f.npz"', PER_SAMPLE)


@pytest.mark.parametrize("shuffled", [False, True])
def test_queries_in_rows_are_grouped_by_equal_sensors(here, shuffled):
    order = RNG.permutation(30) if shuffled else np.arange(30)
    (here / "m.op").write_text(unaligned(order))
    warned = " ".join(run("train", "m.op", "--out", "run").stderr.split())
    assert "30 rows are 6 samples of 5 queries" in warned
    axes = "X_train0 = (query, channel) y_train = (query, channel) X_train1 = (query, channel)"
    assert axes in warned
    row = json.loads(good("evaluate", "run", "--data", "f.npz", "--json"))["tests"][0]
    assert row["samples"] == 6
    good("predict", "run", "-i", "f.npz", "-o", "p.npz")
    with np.load("p.npz") as predicted, np.load("f.npz") as file:
        assert predicted["u"].shape == (30, 1)
        away = predicted["u"] - file["y_train"]
        trained = opdsl.open_run("run")
        one = trained.predict(file["X_train0"][7:8], P=torch.from_numpy(file["X_train1"][7:8]))
        assert np.allclose(np.asarray(one).reshape(-1), predicted["u"][7], rtol=1e-4, atol=1e-6)
    assert row["rmse"] == pytest.approx(float(np.sqrt(np.mean(away**2))), rel=1e-5)


def test_queries_at_equal_points_are_a_function_on_shared_points(here):
    text = unaligned(np.arange(30), np.tile(field(5, 2), (6, 1)))
    (here / "m.op").write_text(text.replace(PER_SAMPLE, "points(2)"))
    good("train", "m.op", "--out", "run")
    row = json.loads(good("evaluate", "run", "--data", "f.npz", "--json"))["tests"][0]
    assert (row["samples"], row["set"]) == (6, "5 points")
    good("predict", "run", "-i", "f.npz", "-o", "p.npz")
    with np.load("p.npz") as predicted, np.load("f.npz") as file:
        away = predicted["u"] - file["y_train"]
    assert row["rmse"] == pytest.approx(float(np.sqrt(np.mean(away**2))), rel=1e-5)


def test_queries_of_ones_own_names_are_grouped_if_the_program_says_so(here):
    sensors = field(9, 20).repeat(10, 0)
    np.savez("f.npz", X=np.concatenate([sensors, field(90, 2)], 1), y=field(90, 1))
    data = """path = "f.npz" fields { f = "X[:, :20]" P = "X[:, 20:]" u = "y" }
    axes { f = (query, channel) P = (query, coordinate) u = (query, channel) }"""
    (here / "m.op").write_text(points_program(OPERATOR, data, PER_SAMPLE))
    good("train", "m.op", "--out", "run")
    row = json.loads(good("evaluate", "run", "--data", "f.npz", "--json"))["tests"][0]
    assert row["samples"] == 9


@pytest.mark.parametrize(
    ("axes", "text", "code"),
    [
        ("f = (query, channel) P = (query, coordinate) u = (sample, point)", OPERATOR, "OP0661"),
        ("P = (query, coordinate) s = (query,)", GEOMETRY, "OP0684"),
    ],
)
def test_queries_that_cannot_be_grouped_are_refused(here, axes, text, code):
    np.savez("f.npz", f=field(30, 20), P=field(30, 2), u=field(30, 1), s=field(30))
    (here / "m.op").write_text(
        points_program(text, f'path = "f.npz" axes {{ {axes} }}', PER_SAMPLE)
    )
    result = run("train", "m.op", "--out", "run")
    assert code in result.stderr
    assert result.stderr.count("error[") == 1


def test_queries_of_which_nobody_says_the_sample_are_refused(here):
    np.savez("f.npz", X=field(90, 22), y=field(90, 1))
    data = 'path = "f.npz" fields { f = "X[:, :20]" P = "X[:, 20:]" u = "y" }'
    (here / "m.op").write_text(points_program(OPERATOR, data))
    result = run("train", "m.op", "--out", "run")
    assert result.exit_code
    assert "OP0661" in result.stderr


def test_a_pickle_is_refused_with_what_to_do(here):
    with open("f.pkl", "wb") as file:  # noqa: PTH123
        pickle.dump({"u": np.zeros((4, 16, 16))}, file)
    (here / "m.op").write_text(grid_program("f.pkl"))
    result = run("train", "m.op", "--out", "run")
    assert result.exit_code
    assert "OP0610" in result.stderr
    assert "numpy.savez" in result.stderr
