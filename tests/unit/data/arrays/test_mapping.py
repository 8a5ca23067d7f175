"""Arrays of files become samples as the program says, compared with NumPy's own indexing."""

import resource
from pathlib import Path

import h5py
import numpy as np
import pytest

from opdsl.data.arrays.axes import Target
from opdsl.data.arrays.formats.hdf5 import Hdf5Arrays
from opdsl.data.arrays.mapping import ArrayMap, Opened, Windows, plan
from opdsl.diagnostics import OpError

RNG = np.random.default_rng(0)
U = Target("u", "grid", 1, grid=("x", "y"))
V = Target("v", "grid", 1, grid=("x", "y"), output=True, timed=True)

# targets, fields, axes and windows of trajectories: input at t, outputs at t + 1 and t + 2
TRAJECTORIES = (
    [U, V],
    {"u": ("x",), "v": ("x",)},
    {"x": ("sample", "time", "x", "y")},
    Windows(),
    2,
)


def saved(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, x in arrays.items():
            file[name.replace("__", "/")] = x
    return [path]


def mapped(paths, targets, fields=None, axes=None, windows=None, steps=None):
    with Opened(paths, "data") as opened:
        files = opened.list()
    return plan(files, ArrayMap(fields or {}, axes or {}, windows, steps), targets)


def refused(*args, **kwargs):
    with pytest.raises(OpError) as error:
        mapped(*args, **kwargs)
    return error.value.diagnostics[0]


def test_components_of_one_function_are_stacked_in_their_order(tmp_path):
    p, q = RNG.normal(size=(2, 6, 5, 7))
    target = Target("w", "grid", 2, ("q", "p"), ("x", "y"))
    data = mapped(saved(tmp_path / "a.h5", p=p, q=q), [target])
    assert len(data) == 6
    np.testing.assert_array_equal(data.read(range(2, 5))["w"], np.stack([q, p], 1)[2:5])


@pytest.mark.parametrize(
    ("axes", "order"),
    [
        (("sample", "x", "y", "channel"), (0, 3, 1, 2)),
        (("x", "y", "channel", "sample"), (3, 2, 0, 1)),
        (("channel", "y", "x", "sample"), (3, 0, 2, 1)),
    ],
)
def test_axes_may_stand_in_any_order(tmp_path, axes, order):
    x = RNG.normal(size=(4, 5, 6, 3))
    channels = x.shape[axes.index("channel")]
    target = Target("w", "grid", channels, grid=("x", "y"))
    data = mapped(saved(tmp_path / "a.h5", w=x), [target], axes={"w": axes})
    np.testing.assert_array_equal(data.read(range(len(data)))["w"], x.transpose(order))


def test_a_window_takes_the_input_at_a_time_and_the_steps_after_it(tmp_path):
    x = RNG.normal(size=(3, 9, 4, 5))  # trajectories, times, grid
    windows = Windows(first=1, steps=2, stride=2, every=3)
    axes = {"x": ("sample", "time", "x", "y")}
    fields = {"u": ("x",), "v": ("x",)}
    data = mapped(saved(tmp_path / "a.h5", x=x), [U, V], fields, axes, windows, steps=2)
    starts = [1, 4]  # 4 + 2 * 2 is the last time
    assert len(data) == 3 * len(starts)
    got = data.read(range(len(data)))
    want = [(x[i, t][None], x[i, [t + 2, t + 4]]) for i in range(3) for t in starts]
    np.testing.assert_array_equal(got["u"], np.stack([a for a, _ in want]))
    np.testing.assert_array_equal(got["v"], np.stack([b for _, b in want]))
    part = data.read(range(1, 4))  # begins within a trajectory
    np.testing.assert_array_equal(part["v"], got["v"][1:4])


def test_the_history_of_an_input_is_its_channels_the_last_time_last(tmp_path):
    x = RNG.normal(size=(2, 8, 4, 5))
    target = Target("u", "grid", 3, grid=("x", "y"))
    windows = Windows(history=3)
    fields, axes = {"u": ("x",), "v": ("x",)}, {"x": ("sample", "time", "x", "y")}
    data = mapped(saved(tmp_path / "a.h5", x=x), [target, V], fields, axes, windows)
    got = data.read(range(1))
    np.testing.assert_array_equal(got["u"][0], x[0, :3])
    np.testing.assert_array_equal(got["v"][0, 0], x[0, 3])


def test_times_without_windows_are_channels_before_the_components(tmp_path):
    x = RNG.normal(size=(2, 3, 4, 5, 2))
    target = Target("v", "grid", 2, grid=("x", "y"), output=True, timed=True)
    axes = {"x": ("sample", "time", "x", "y", "channel")}
    data = mapped(saved(tmp_path / "a.h5", x=x), [target], {"v": ("x",)}, axes, steps=3)
    want = x.transpose(0, 1, 4, 2, 3).reshape(2, 6, 4, 5)
    np.testing.assert_array_equal(data.read(range(2))["v"], want)


def test_one_group_for_each_sample_in_the_order_of_its_number(tmp_path):
    x = RNG.normal(size=(12, 4, 5))
    paths = saved(tmp_path / "a.h5", **{f"{i}__data": x[i] for i in reversed(range(12))})
    data = mapped(paths, [U], {"u": ("*/data",)}, {"u": ("x", "y")})
    np.testing.assert_array_equal(data.read(range(3, 12))["u"][:, 0], x[3:12])


def test_one_file_for_each_sample(tmp_path):
    x = RNG.normal(size=(3, 4, 5))
    paths = [tmp_path / f"{i}.npz" for i in range(3)]
    for i, path in enumerate(paths):
        np.savez(path, u=x[i])
    data = mapped(paths, [U], axes={"u": ("x", "y")})
    np.testing.assert_array_equal(data.read(range(1, 3))["u"][:, 0], x[1:])


def test_more_files_than_may_be_open(tmp_path):
    x = RNG.normal(size=(40, 4, 5))
    paths = [tmp_path / f"{i}.h5" for i in range(40)]
    for i, path in enumerate(paths):
        saved(path, u=x[i])
    data = mapped(paths, [U], axes={"u": ("x", "y")})
    held = Path("/proc/self/fd")
    open_files = len(list(held.iterdir())) if held.exists() else 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files + 30, hard))
    try:
        np.testing.assert_array_equal(data.read(range(40))["u"][:, 0], x)
        assert len(mapped(paths, [U], axes={"u": ("x", "y")})) == 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_windows_that_do_not_fit_into_memory_are_refused_before_they_are_read(
    tmp_path, monkeypatch
):
    x = np.zeros((2, 50, 8, 8), np.float32)
    fields, axes = {"u": ("x",), "v": ("x",)}, {"x": ("sample", "time", "x", "y")}
    data = mapped(saved(tmp_path / "a.h5", x=x), [U, V], fields, axes, Windows(steps=30), 30)
    numbers = len(data) * (1 + 30) * 64
    monkeypatch.setattr("opdsl.data.arrays.mapping.data_budget", lambda: 8 * numbers - 1)
    with pytest.raises(OpError) as error:
        data.read(range(len(data)))
    assert error.value.diagnostics[0].code == "OP0610"
    monkeypatch.setattr("opdsl.data.arrays.mapping.data_budget", lambda: 8 * numbers)
    assert len(data.read(range(len(data)))["v"]) == len(data)


def test_several_files_hold_more_samples(tmp_path):
    x = RNG.normal(size=(5, 4, 6))
    np.savez(tmp_path / "a.npz", u=x[:2])
    np.savez(tmp_path / "b.npz", u=x[2:])
    data = mapped([tmp_path / "a.npz", tmp_path / "b.npz"], [U])
    np.testing.assert_array_equal(data.read(range(1, 4))["u"][:, 0], x[1:4])


def test_files_of_different_arrays_with_an_index_and_a_mesh_as_points(tmp_path):
    X, Y, Q = RNG.normal(size=(3, 4, 5, 6)), RNG.normal(size=(3, 4, 5, 6)), None
    X, Y = X[0], Y[0]  # (samples, i, j)
    Q = RNG.normal(size=(4, 5, 5, 6))
    for name, x in (("X", X), ("Y", Y), ("Q", Q)):
        np.save(tmp_path / f"NACA_{name}.npy", x)
    paths = sorted(tmp_path.glob("*.npy"))
    targets = [Target("q", "points", 1, output=True), Target("P", "coordinates", 2)]
    fields = {"q": ("NACA_Q.npy[:, 4]",), "P": ("NACA_X.npy", "NACA_Y.npy")}
    axes = dict.fromkeys(("q", "P"), ("sample", "point", "point"))
    got = mapped(paths, targets, fields, axes).read(range(1, 4))
    np.testing.assert_array_equal(got["q"], Q[1:4, 4].reshape(3, 1, 30))
    np.testing.assert_array_equal(got["P"], np.stack([X, Y], -1)[1:4].reshape(3, 30, 2))


def test_samples_last_and_coordinates_of_each(tmp_path):
    xy, s = RNG.normal(size=(9, 2, 5)), RNG.normal(size=(9, 5))
    targets = [Target("s", "points", 1, output=True), Target("P", "coordinates", 2)]
    axes = {"P": ("point", "coordinate", "sample"), "s": ("point", "sample")}
    got = mapped(saved(tmp_path / "a.h5", P=xy, s=s), targets, axes=axes).read(range(5))
    np.testing.assert_array_equal(got["P"], xy.transpose(2, 0, 1))
    np.testing.assert_array_equal(got["s"][:, 0], s.T)


def test_points_that_all_samples_share_are_read_once(tmp_path):
    trunk, y = RNG.normal(size=(7, 2)), RNG.normal(size=(4, 7))
    targets = [Target("y", "points", 1, output=True), Target("P", "coordinates", 2)]
    got = mapped(saved(tmp_path / "a.h5", P=trunk, y=y), targets).read(range(2, 4))
    np.testing.assert_array_equal(got["P"], trunk)
    np.testing.assert_array_equal(got["y"][:, 0], y[2:4])


def test_a_vector_beside_a_function_and_a_static_function(tmp_path):
    nu, a, mask = RNG.normal(size=6), RNG.normal(size=(6, 4, 5)), RNG.normal(size=(4, 5))
    targets = [Target("nu", "vector", 1), U, Target("m", "grid", 1, grid=("x", "y"))]
    paths = saved(tmp_path / "a.h5", scalars__nu=nu, u=a, m=mask)
    got = mapped(paths, targets, {"nu": ("scalars/nu",)}).read(range(1, 3))
    np.testing.assert_array_equal(got["nu"], nu[1:3, None])
    np.testing.assert_array_equal(got["u"][:, 0], a[1:3])
    np.testing.assert_array_equal(got["m"], np.stack([mask[None]] * 2))


def test_an_index_may_thin_reverse_and_drop(tmp_path):
    x = RNG.normal(size=(6, 3, 4, 5))
    data = mapped(saved(tmp_path / "a.h5", x=x), [U], {"u": ("x[::-2, 1]",)})
    np.testing.assert_array_equal(data.read(range(1, 3))["u"][:, 0], x[::-2, 1][1:3])


def test_names_of_axes_in_the_file_are_the_axes(tmp_path):
    path = tmp_path / "a.h5"
    x = RNG.normal(size=(4, 4, 4))  # sizes say nothing
    with h5py.File(path, "w") as file:
        file["u"] = x
        for i, name in enumerate(("y", "sample", "x")):
            file["u"].dims[i].label = name
    np.testing.assert_array_equal(
        mapped([path], [U]).read(range(4))["u"][:, 0], x.transpose(1, 2, 0)
    )


# ---------------------------------------------------------------------------------------- refusals


def test_channels_first_or_last_is_not_guessed(tmp_path):
    target = Target("u", "grid", 3, grid=("x", "y"))
    refusal = refused(saved(tmp_path / "a.h5", u=np.zeros((4, 3, 8, 3))), [target])
    assert refusal.code == "OP0661"
    assert "(sample, channel, x, y) or (sample, x, y, channel)" in refusal.message
    assert "axes { u = (sample, channel, x, y) }" in refusal.helps[0].text


def test_ten_times_are_not_an_axis_of_the_grid(tmp_path):
    refusal = refused(saved(tmp_path / "a.h5", u=np.zeros((12, 10, 16, 16))), [U])
    assert refusal.code == "OP0661"
    assert "(12, 10, 16, 16)" in refusal.message
    assert any("(sample, time, x, y)" in x.text for x in refusal.helps)


def test_an_array_that_is_not_there_lists_what_is(tmp_path):
    refusal = refused(
        saved(tmp_path / "a.h5", coef=np.zeros((2, 4, 4)), sol=np.zeros((2, 4, 4))), [U]
    )
    assert refusal.code == "OP0660"
    assert "`coef` (2, 4, 4), `sol` (2, 4, 4)" in refusal.notes[0]


@pytest.mark.parametrize("text", ["u[", "u[a]", "", "u[0][1]", "u[1.5]"])
def test_a_malformed_reference(tmp_path, text):
    refusal = refused(saved(tmp_path / "a.h5", u=np.zeros((2, 4, 4))), [U], {"u": (text,)})
    assert refusal.code == "OP0663"


@pytest.mark.parametrize("text", ["u[7]", "u[0, 0, 0, 0]", "u[3:2]"])
def test_an_index_outside_of_the_array(tmp_path, text):
    refusal = refused(saved(tmp_path / "a.h5", u=np.zeros((2, 4, 4))), [U], {"u": (text,)})
    assert refusal.code == "OP0661"


def test_trajectories_shorter_than_a_window(tmp_path):
    paths = saved(tmp_path / "a.h5", x=np.zeros((2, 5, 4, 4)))
    fields, axes = {"u": ("x",), "v": ("x",)}, {"x": ("sample", "time", "x", "y")}
    refusal = refused(paths, [U, V], fields, axes, Windows(first=2, steps=3), 3)
    assert refusal.code == "OP0662"
    assert "have 5 times" in refusal.message
    assert "needs 6" in refusal.message


def test_different_numbers_of_samples(tmp_path):
    paths = saved(tmp_path / "a.h5", u=np.zeros((3, 4, 5)), v=np.zeros((2, 4, 5)))
    refusal = refused(paths, [U, V])
    assert (refusal.code, refusal.message) == (
        "OP0661",
        "the arrays differ in their number of samples: `u` 3, `v` 2",
    )


def test_another_number_of_channels(tmp_path):
    refusal = refused(
        saved(tmp_path / "a.h5", u=np.zeros((3, 2, 4, 5))),
        [U],
        axes={"u": ("sample", "channel", "x", "y")},
    )
    assert refusal.code == "OP0613"
    assert "`u` has 2 channels, `u` of the model has 1 channel" in refusal.message


def test_an_axis_that_the_program_does_not_have(tmp_path):
    paths = saved(tmp_path / "a.h5", u=np.zeros((3, 4, 5)))
    refusal = refused(paths, [U], axes={"u": ("sample", "x", "z")})
    assert refusal.code == "OP0661"
    assert "`z` is no axis of `u`" in refusal.message


def test_samples_are_read_in_any_order(tmp_path):
    data = mapped(saved(tmp_path / "a.h5", x=RNG.normal(size=(6, 9, 4, 5))), *TRAJECTORIES)
    rows = [7, 30, 3, 3, 4, 5, 41, 0]
    every = data.read(range(len(data)))
    some = data.read(rows)
    for name in ("u", "v"):
        np.testing.assert_array_equal(some[name], every[name][rows])
    assert list(data.read(rows, names={"u"})) == ["u"]


def test_a_window_reads_no_more_times_than_it_needs(tmp_path, monkeypatch):
    data = mapped(saved(tmp_path / "a.h5", x=np.zeros((2, 100, 4, 4))), *TRAJECTORIES)
    sizes = []
    read = Hdf5Arrays.read

    def counted(self, name, index=()):
        values = read(self, name, index)
        sizes.append(values.size)
        return values

    monkeypatch.setattr(Hdf5Arrays, "read", counted)
    data.read([150])
    assert sizes == [16, 2 * 16]


@pytest.mark.parametrize(
    ("name", "axes", "by_rows"),
    [
        ("a.h5", None, True),
        ("a.npz", None, True),
        ("packed.npz", None, False),
        ("a.npy", None, True),
        ("columns.npy", None, False),
        ("a.h5", ("x", "y", "sample"), False),
    ],
)
def test_it_is_known_whether_single_samples_can_be_read(tmp_path, name, axes, by_rows):
    x, path = np.zeros((6, 6, 6)), tmp_path / name
    if name == "packed.npz":
        np.savez_compressed(path, u=x)
    elif path.suffix == ".npz":
        np.savez(path, u=x)
    elif path.suffix == ".npy":
        np.save(path, np.asfortranarray(x) if name == "columns.npy" else x)
    else:
        saved(path, u=x)
    fields = {} if path.suffix != ".npy" else {"u": ("data",)}
    data = mapped([path], [U], fields, {"u": axes or ("sample", "x", "y")})
    assert data.by_rows is by_rows
