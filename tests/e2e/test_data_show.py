"""`opdsl data show`: the arrays of any file without their values, and known fields."""

import json

import h5py
import numpy as np
import pytest
import torch

from opdsl.data.io.dataset import open_dataset, stream_dataset
from opdsl.diagnostics import OpError
from tests.e2e.command_line import good, run

NOTE = "which arrays are inputs and outputs is not stated"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def diffusion_reaction(path, samples=12):
    """The layout of PDEBench with one group for each sample."""
    with h5py.File(path, "w") as file:
        for i in range(samples):
            file[f"{i:04d}/data"] = np.zeros((6, 8, 8, 2), "f4")
            for axis, length in (("t", 6), ("x", 8), ("y", 8)):
                file[f"{i:04d}/grid/{axis}"] = np.zeros(length, "f4")


@pytest.mark.usefixtures("here")
def test_groups_of_samples_are_one_row_and_the_file_is_no_error():
    diffusion_reaction("d.h5")
    lines = good("data", "show", "d.h5").splitlines()
    assert lines[0] == "HDF5, 48 arrays"
    assert lines[2].split() == ["*/data", "12", "arrays", "(6,", "8,", "8,", "2)", "float32"]
    assert lines[-1].startswith(f"note: {NOTE}")


@pytest.mark.usefixtures("here")
def test_a_known_layout_is_listed_and_its_fields_follow():
    np.savez("d.npz", x=np.ones((4, 16), "f4"), y=np.full((4, 16), 2.0, "f4"))
    text = good("data", "show", "d.npz")
    assert text.startswith("NumPy .npz, 2 arrays\n")
    assert NOTE not in text
    assert text.splitlines()[-1].split() == ["y", "output", "4", "1", "float32", "2", "2", "2"]


@pytest.mark.usefixtures("here")
def test_json_adds_the_arrays_to_what_it_had():
    np.savez("d.npz", x=np.ones((4, 16), "f4"), y=np.ones((4, 16), "f4"))
    known = json.loads(good("data", "show", "d.npz", "--json"))
    assert [x["field"] for x in known["fields"]] == ["x", "y"]
    assert known["format"] == "NumPy .npz"
    assert known["arrays"][0] == {
        "name": "x", "arrays": 1, "shape": [4, 16], "type": "float32", "axes": [], "attributes": {},
    }  # fmt: skip
    assert "note" not in known
    np.savez("a.npz", a=np.ones((4, 16)))
    unknown = json.loads(good("data", "show", "a.npz", "--json"))
    assert unknown.keys() - known.keys() == {"note"}
    assert unknown["fields"] == []
    assert NOTE in unknown["note"]


@pytest.mark.usefixtures("here")
def test_values_are_not_read_for_the_listing(monkeypatch):
    np.savez("a.npz", a=np.ones((4, 16)))
    monkeypatch.setattr(
        "opdsl.data.arrays.containers.stored.read_strided", None
    )  # whoever calls it fails
    assert "(4, 16)" in good("data", "show", "a.npz")


@pytest.mark.usefixtures("here")
def test_a_sound_file_larger_than_memory_is_listed(monkeypatch):
    np.savez("d.npz", x=np.ones((4, 16)), y=np.ones((4, 16)))
    monkeypatch.setattr("opdsl.data.io.formats.npz.data_budget", lambda: 100)
    text = good("data", "show", "d.npz")
    assert "(4, 16)" in text
    assert "note: no table of values: the file would take" in text


@pytest.mark.usefixtures("here")
def test_a_pair_that_does_not_fit_says_why_it_is_none():
    np.savez("d.npz", x=np.ones((4, 16)), y=np.ones((5, 16)))
    text = good("data", "show", "d.npz")
    assert "note: the file is no pair of fields: samples or grids differ" in text
    assert f"note: {NOTE}" in text


@pytest.mark.usefixtures("here")
def test_a_store_in_a_folder_is_listed():
    zarr = pytest.importorskip("zarr")
    zarr.create_group("d.zarr").create_array("u", data=np.zeros((4, 16)))
    text = good("data", "show", "d.zarr")
    assert "(4, 16)" in text
    assert NOTE in text


@pytest.mark.usefixtures("here")
def test_a_damaged_file_is_an_error():
    np.savez("d.npz", x=np.ones((400, 16)), y=np.ones((400, 16)))
    with open("d.npz", "r+b") as file:  # noqa: PTH123
        file.truncate(3000)
    result = run("data", "show", "d.npz")
    assert result.exit_code == 4
    assert "error[OP0610]" in result.stderr


def save_hdf5(path):
    with h5py.File(path, "w") as file:
        file["temperature"] = np.zeros((4, 16))


SAVE = {
    "a.h5": save_hdf5,
    "a.npz": lambda path: np.savez(path, temperature=np.zeros((4, 16))),
    "a.pt": lambda path: torch.save({"temperature": torch.zeros(4, 16)}, path),
    "a.npy": lambda path: np.save(path, np.zeros((4, 16))),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", SAVE)
@pytest.mark.parametrize("call", [open_dataset, lambda x: stream_dataset(x, size=2)])
def test_a_refusal_lists_what_the_file_holds_and_names_no_module(name, call):
    SAVE[name](name)
    with pytest.raises(OpError) as caught:
        call(name)
    (one,) = caught.value.diagnostics
    assert one.code == "OP0610"
    assert "(4, 16)" in "\n".join(one.notes)
    assert "fields" in one.helps[0].text
    assert not any("opdsl." in x.text for x in one.helps)
