"""The Well's layout: what is written is read, also by its own rules; nothing half-written stays."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from opdsl.data import open_dataset
from opdsl.data.io.well_writing import WellLayout, write_well
from opdsl.diagnostics import OpError

LINE = np.linspace(0, 1, 9)
VALUES = np.random.default_rng(2).random((4, 9, 5)).astype(np.float32)


def plan(count=4, **changes):
    parts = {
        "name": "made",
        "axes": {"x": LINE, "y": LINE[::2]},
        "roles": {"a": "input", "u": "output"},
        "count": count,
        "boundary": "WALL",
        "layout": "node",
        "parameters": {"seed": "7", "viscosity": 0.5},
    }
    return WellLayout(**parts | changes)


def write(path, **changes):
    with write_well(path, plan(**changes)) as put:
        for i, u in enumerate(VALUES):
            put(i, {"a": -u, "u": u})
    return path


def test_what_is_written_is_read_back_with_its_roles(tmp_path):
    held = open_dataset(write(tmp_path / "a.hdf5"))
    assert held.roles == {"a": "input", "u": "output"}
    assert torch.equal(held.values["u"][:, 0], torch.from_numpy(VALUES))
    assert torch.equal(held.values["a"], -held.values["u"])
    assert (held.name, held.axes, held.resolution, held.layout) == (
        "made", ("x", "y"), (9, 5), "node",
    )  # fmt: skip


def test_the_file_has_the_layout_of_the_well(tmp_path):
    with h5py.File(write(tmp_path / "a.hdf5")) as f:
        root = dict(f.attrs)
        assert root["dataset_name"] == "made"
        assert root["grid_type"] == "cartesian"
        assert (root["n_spatial_dims"], root["n_trajectories"]) == (2, 4)
        assert list(root["simulation_parameters"]) == ["viscosity"]
        assert (root["seed"], root["viscosity"]) == ("7", 0.5)
        assert list(f["dimensions"].attrs["spatial_dims"]) == ["x", "y"]
        assert np.array_equal(f["dimensions/y"][()], LINE[::2].astype(np.float32))
        assert list(f["t0_fields"].attrs["field_names"]) == ["a", "u"]
        assert f["t0_fields/u"].attrs["time_varying"]  # else The Well takes it for a constant
        assert f["t0_fields/u"].attrs["sample_varying"]
        assert f["t0_fields/u"].shape == (4, 1, 9, 5)
        assert f["t0_fields/u"].chunks == (1, 1, 9, 5)
        assert {"scalars", "t1_fields", "t2_fields"} <= set(f)
        assert f["boundary_conditions/x_wall"].attrs["bc_type"] == "WALL"
        assert f["boundary_conditions/x_wall/mask"][()].sum() == 2


def test_some_samples_on_a_coarser_grid(tmp_path):
    held = open_dataset(write(tmp_path / "a.hdf5"), resolution=(5, 5), samples=2)
    assert torch.equal(held.values["u"][:, 0], torch.from_numpy(VALUES[:2, ::2]))


def test_more_samples_than_there_are_is_refused(tmp_path):
    with pytest.raises(OpError) as caught:
        open_dataset(write(tmp_path / "a.hdf5"), samples=5)
    assert "hold 4 samples, 5 were asked for" in caught.value.diagnostics[0].message


def test_the_fingerprint_is_that_of_the_contents(tmp_path):
    one = open_dataset(write(tmp_path / "a.hdf5"))
    two = open_dataset(write(tmp_path / "b.h5", name="other"))
    part = open_dataset(tmp_path / "a.hdf5", samples=3)
    assert one.fingerprint == two.fingerprint != part.fingerprint
    assert len(one.fingerprint) == 64


def varied(path):
    """A file as The Well itself has them: times, vectors, tensors, constants, fewer axes."""
    rng = np.random.default_rng(4)
    made = {
        "t0_fields/p": ((3, 2, 4, 6), True, True, [True, True]),
        "t1_fields/v": ((3, 2, 4, 6, 2), True, True, [True, True]),
        "t2_fields/s": ((3, 4, 6, 2, 2), True, False, [True, True]),
        "t0_fields/c": ((4, 6), False, False, [True, True]),
        "t0_fields/h": ((3, 6), True, False, [False, True]),
    }
    with h5py.File(path, "w") as f:
        f["dimensions/x"], f["dimensions/y"] = np.arange(4.0), np.arange(6.0)
        f["dimensions"].attrs["spatial_dims"] = ["x", "y"]
        for name, (shape, sampled, timed, dims) in made.items():
            f[name] = rng.random(shape, np.float32)
            f[name].attrs.update(sample_varying=sampled, time_varying=timed, dim_varying=dims)
        return {name: f[name][()] for name in made}


def test_times_and_components_become_channels(tmp_path):
    raw = varied(tmp_path / "a.hdf5")
    held = open_dataset(tmp_path / "a.hdf5")
    assert {k: tuple(v.shape) for k, v in held.values.items()} == {
        "p": (3, 2, 4, 6), "v": (3, 4, 4, 6), "s": (3, 4, 4, 6), "c": (3, 1, 4, 6),
        "h": (3, 1, 4, 6),
    }  # fmt: skip
    v = held.values["v"].reshape(3, 2, 2, 4, 6)
    assert torch.equal(v[:, 1, 0], torch.from_numpy(raw["t1_fields/v"][:, 1, ..., 0]))
    s = held.values["s"].reshape(3, 2, 2, 4, 6)
    assert torch.equal(s[:, 0, 1], torch.from_numpy(raw["t2_fields/s"][..., 0, 1]))


def test_a_constant_is_repeated_for_every_sample_and_axis(tmp_path):
    raw = varied(tmp_path / "a.hdf5")
    held = open_dataset(tmp_path / "a.hdf5", resolution=(2, 3), samples=2)
    assert torch.equal(held.values["c"][1, 0], torch.from_numpy(raw["t0_fields/c"][::2, ::2]))
    assert torch.equal(held.values["h"][1, 0, 1], torch.from_numpy(raw["t0_fields/h"][1, ::2]))


def test_fields_without_our_mark_have_no_role(tmp_path):
    varied(tmp_path / "a.hdf5")
    assert set(open_dataset(tmp_path / "a.hdf5").roles.values()) == {"unknown"}


def test_a_shape_against_its_attributes_is_refused(tmp_path):
    varied(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "r+") as f:
        f["t0_fields/p"].attrs["time_varying"] = False
    with pytest.raises(OpError) as caught:
        open_dataset(tmp_path / "a.hdf5")
    assert "(3, 2, 4, 6) of `t0_fields/p`" in caught.value.diagnostics[0].message


def test_fields_with_other_numbers_of_samples_are_refused(tmp_path):
    varied(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "r+") as f:
        f["t0_fields/q"] = np.zeros((5, 2, 4, 6))
    with pytest.raises(OpError) as caught:
        open_dataset(tmp_path / "a.hdf5")
    assert "`t0_fields/q` 5" in caught.value.diagnostics[0].message


def test_two_fields_of_one_name_are_refused(tmp_path):
    varied(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "r+") as f:
        f["t1_fields/p"] = np.zeros((3, 2, 4, 6, 2))
    with pytest.raises(OpError) as caught:
        open_dataset(tmp_path / "a.hdf5")
    assert "have one name" in caught.value.diagnostics[0].message


def test_numbers_in_another_byte_order_are_read(tmp_path):
    varied(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "r+") as f:
        old = f["t0_fields/p"][()]
        f["t0_fields/q"] = old.astype(">f8")
    held = open_dataset(tmp_path / "a.hdf5")
    assert torch.equal(held.values["q"].float(), held.values["p"])


def test_another_layout_is_named_as_such(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["tensor"] = np.zeros((3, 4))
    with pytest.raises(OpError) as caught:
        open_dataset(tmp_path / "a.h5")
    assert "The Well" in caught.value.diagnostics[0].message


def write_one_and(stop, path):
    with write_well(path, plan()) as put:
        put(0, {"a": VALUES[0], "u": VALUES[0]})
        raise stop


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interrupted_file_leaves_nothing_behind(tmp_path, stop):
    with pytest.raises(stop):
        write_one_and(stop, tmp_path / "a.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_file_leaves_the_old_one_whole(tmp_path):
    before = write(tmp_path / "a.hdf5").read_bytes()
    with pytest.raises(KeyboardInterrupt), write_well(tmp_path / "a.hdf5", plan()):
        raise KeyboardInterrupt
    assert (tmp_path / "a.hdf5").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_the_name_appears_only_when_the_file_is_whole(tmp_path):
    with write_well(tmp_path / "a.hdf5", plan()) as put:
        put(0, {"a": VALUES[0], "u": VALUES[0]})
        assert not (tmp_path / "a.hdf5").exists()
    assert [f.name for f in tmp_path.iterdir()] == ["a.hdf5"]


def test_a_link_at_the_target_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("a.hdf5", "a.hdf5.part", ".tmp-a.hdf5"):
        (tmp_path / name).symlink_to(victim)
    write(tmp_path / "a.hdf5")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "a.hdf5").is_symlink()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OpError) as caught:
        write(tmp_path / "file" / "a.hdf5")
    assert caught.value.diagnostics[0].code == "OP0625"


def test_a_full_disk_leaves_nothing_and_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OpError) as caught:
        write(tmp_path / "a.hdf5")
    assert caught.value.diagnostics[0].code == "OP0625"
    assert "No space left" in caught.value.diagnostics[0].message
    assert list(tmp_path.iterdir()) == []


def folder(home: Path):
    for part in ("train", "test"):
        (home / "data" / part).mkdir(parents=True)
        write(home / "data" / part / "b.hdf5")
    with write_well(home / "data/train/a.hdf5", plan(count=2)) as put:
        for i in range(2):
            put(i, {"a": VALUES[i] + 5, "u": VALUES[i] + 5})
    return home


def test_the_files_of_a_folder_are_joined_in_the_order_of_their_names(tmp_path):
    held = open_dataset(folder(tmp_path / "set"))
    assert len(held.values["u"]) == 6
    assert torch.equal(held.values["u"][0, 0], torch.from_numpy(VALUES[0] + 5))
    assert torch.equal(held.values["u"][2, 0], torch.from_numpy(VALUES[0]))


def test_samples_are_counted_across_the_files_of_a_folder(tmp_path):
    held = open_dataset(folder(tmp_path / "set"), split="train", samples=3)
    assert len(held.values["u"]) == 3
    assert torch.equal(held.values["u"][2, 0], torch.from_numpy(VALUES[0]))


def test_a_part_of_a_folder_is_chosen_by_name(tmp_path):
    assert len(open_dataset(folder(tmp_path / "set"), split="test").values["u"]) == 4
    with pytest.raises(OpError) as caught:
        open_dataset(tmp_path / "set", split="tset")
    (one,) = caught.value.diagnostics
    assert one.code == "OP0610"
    assert "did you mean `test`?" in one.helps[0].text


def test_files_of_one_set_must_agree(tmp_path):
    home = folder(tmp_path / "set")
    varied(home / "data/train/c.hdf5")
    with pytest.raises(OpError) as caught:
        open_dataset(home)
    (one,) = caught.value.diagnostics
    assert "differ from those of the first file" in one.message
    assert str(one.file).endswith("c.hdf5")
