"""Our layout of HDF5 for functions on points: what is written is what is read, or a diagnostic."""

import h5py
import numpy as np
import pytest
import torch

from opdsl import Geometry, OpError, Packed
from opdsl.data import open_dataset
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import points

SIZES = (5, 3, 7)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def mesh(n, seed=0):
    ring = torch.stack((torch.arange(n), torch.arange(n).roll(-1)), 1)
    cells = torch.cat((ring, ring.roll(-1, 0)[:, 1:]), 1)
    return Geometry(random(n, 2, seed=seed), random(n, seed=seed + 1), cells, ring)


def ragged():
    """Three samples of as many points as `SIZES` says, and a grid beside."""
    return FileFields(
        name="set",
        values={
            "f": Packed.of(random(2, n, seed=n) for n in SIZES),
            "p": Packed.of(random(1, n, seed=n + 50) for n in SIZES),
            "sdf": random(3, 1, 4, 6),
            "speed": random(3, 2),
        },
        roles={"f": "input", "p": "output", "sdf": "input", "speed": "unknown"},
        axes=("x", "y"),
        layout="periodic",
        places={"P": tuple(mesh(n, seed=n) for n in SIZES)},
        homes={"f": "P", "p": "P"},
    )


def shared():
    return FileFields(
        name="set",
        values={"f": random(4, 2, 9), "g": random(4, 1, 9, seed=1)},
        roles={"f": "input", "g": "output"},
        axes=(),
        layout="periodic",
        places={"P": (Geometry(random(9, 3)),), "Q": (Geometry(random(5, 3, seed=2)),)},
        homes={"f": "P", "g": "P"},
    )


def same(a, b):
    if isinstance(a, Packed):
        return a.sizes == b.sizes and a.values.equal(b.values)
    return a.equal(b)


def same_place(a, b):
    parts = ("points", "weights", "cells", "edges")
    pairs = [(getattr(a, k), getattr(b, k)) for k in parts]
    return all(x is y if x is None or y is None else x.equal(y) for x, y in pairs)


@pytest.mark.parametrize("made", [ragged, shared])
def test_what_is_written_is_read(tmp_path, made):
    raw = made()
    points.write(tmp_path / "a.h5", raw, parameters={"seed": 3})
    held = open_dataset(tmp_path / "a.h5")
    assert held.name == "set"
    assert held.values.keys() == raw.values.keys()
    assert all(same(x, held.values[k]) for k, x in raw.values.items())
    assert held.roles == raw.roles
    assert held.homes == raw.homes
    assert held.axes == raw.axes
    assert held.resolution == ((4, 6) if raw.axes else ())
    assert held.places.keys() == raw.places.keys()
    for k, placed in raw.places.items():
        assert len(placed) == len(held.places[k])
        assert all(same_place(x, y) for x, y in zip(placed, held.places[k], strict=True))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["seed"] == 3
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("made", [ragged, shared])
def test_the_first_samples_can_be_read_alone(tmp_path, made):
    raw = made()
    points.write(tmp_path / "a.h5", raw)
    held = open_dataset(tmp_path / "a.h5", samples=2)
    whole = open_dataset(tmp_path / "a.h5")
    assert all(len(x) == 2 for x in held.values.values())
    for k, x in raw.values.items():
        wanted = x.take((0, 1)) if isinstance(x, Packed) else x[:2]
        assert same(wanted, held.values[k])
    assert len(held.places["P"]) == min(2, len(raw.places["P"]))
    assert held.fingerprint != whole.fingerprint


def test_a_single_sample_of_its_own_is_not_shared(tmp_path):
    raw = ragged()
    points.write(tmp_path / "a.h5", raw)
    one = open_dataset(tmp_path / "a.h5", samples=1)
    assert isinstance(one.values["f"], Packed)
    assert len(one.places["P"]) == 1


def test_files_of_a_folder_are_one_set(tmp_path):
    points.write(tmp_path / "a.h5", ragged())
    points.write(tmp_path / "b.h5", ragged())
    held = open_dataset(tmp_path)
    assert held.values["f"].sizes == SIZES * 2
    assert len(held.places["P"]) == 6
    points.write(tmp_path / "shared" / "a.h5", shared())
    points.write(tmp_path / "shared" / "b.h5", shared())
    held = open_dataset(tmp_path / "shared")
    assert held.values["f"].shape == (8, 2, 9)
    assert len(held.places["P"]) == 1


def test_files_that_share_different_points_become_packed(tmp_path):
    other = shared()
    other.places["P"] = (Geometry(random(9, 3, seed=8)),)
    points.write(tmp_path / "a.h5", shared())
    points.write(tmp_path / "b.h5", other)
    held = open_dataset(tmp_path)
    assert held.values["f"].sizes == (9,) * 8
    assert [x.key for x in held.places["P"]] == [
        y.places["P"][0].key for y in (shared(), other) for _ in range(4)
    ]
    assert len(held.places["Q"]) == 1


def test_other_coordinates_have_another_fingerprint(tmp_path):
    other = shared()
    other.places["Q"] = (Geometry(random(5, 3, seed=8)),)
    points.write(tmp_path / "a.h5", shared())
    points.write(tmp_path / "b.h5", other)
    found = {open_dataset(tmp_path / x).fingerprint for x in ("a.h5", "b.h5")}
    assert len(found) == 2


def change(path, name, values=None, **attributes):
    with h5py.File(path, "a") as file:
        if values is not None:
            kept = dict(file[name].attrs)
            del file[name]
            file[name] = values
            file[name].attrs.update(kept)
        file[name].attrs.update(attributes)


DAMAGES = [
    ("geometry/P/offsets", np.array([0, 5, 8, 14]), "OP0610", "does not rise from 0 to 15"),
    ("geometry/P/offsets", np.array([1, 5, 8, 15]), "OP0610", "does not rise from 0 to 15"),
    ("geometry/P/offsets", np.array([0, 8, 5, 15]), "OP0610", "does not rise from 0 to 15"),
    ("geometry/P/offsets", np.array([0, 5, 5, 15]), "OP0613", "sample 1 has no points"),
    ("geometry/P/offsets", np.array([0, 5, 15]), "OP0613", "(2,"),
    ("geometry/P/offsets", np.array([0.0, 5, 8, 15]), "OP0610", "no row of whole numbers"),
    ("geometry/P/cell_offsets", np.array([0, 5, 8, 99]), "OP0610", "does not rise"),
    ("geometry/P/points", np.zeros(15), "OP0610", "not there, or not (points, d)"),
    ("geometry/P/weights", np.zeros((15, 2)), "OP0610", "`weights` of a geometry"),
    ("fields/f", np.zeros((14, 2)), "OP0613", "has the shape (14, 2), and (15, any)"),
    ("fields/sdf", np.zeros((2, 1, 4, 6)), "OP0613", "and (3, any, any, any)"),
]


@pytest.mark.parametrize(("name", "values", "code", "words"), DAMAGES)
def test_a_file_that_does_not_agree_with_itself_is_refused(tmp_path, name, values, code, words):
    points.write(tmp_path / "a.h5", ragged())
    change(tmp_path / "a.h5", name, values)
    with pytest.raises(OpError) as error:
        open_dataset(tmp_path / "a.h5")
    assert error.value.diagnostics[0].code == code
    assert words in error.value.diagnostics[0].message


def test_a_field_on_points_that_the_file_lacks_is_refused(tmp_path):
    points.write(tmp_path / "a.h5", ragged())
    change(tmp_path / "a.h5", "fields/f", domain="R")
    with pytest.raises(OpError, match="tells neither a `domain` of the file nor its `axes`"):
        open_dataset(tmp_path / "a.h5")


def test_a_file_of_a_later_version_is_refused(tmp_path):
    points.write(tmp_path / "a.h5", ragged())
    change(tmp_path / "a.h5", "/", opdsl_points=2)
    with pytest.raises(OpError, match="`opdsl_points` = 2, not 1"):
        open_dataset(tmp_path / "a.h5")


def test_points_have_no_resolution(tmp_path):
    points.write(tmp_path / "a.h5", ragged())
    with pytest.raises(OpError) as error:
        open_dataset(tmp_path / "a.h5", resolution=4)
    assert error.value.diagnostics[0].code == "OP0614"


def test_coordinates_in_another_file_are_refused(tmp_path):
    points.write(tmp_path / "a.h5", ragged())
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["geometry/P/points"]
        file["geometry/P/points"] = h5py.ExternalLink("/etc/other.h5", "x")
    with pytest.raises(OpError) as error:
        open_dataset(tmp_path / "a.h5")
    assert error.value.diagnostics[0].code == "OP0615"


def test_an_unwritable_file_leaves_nothing(tmp_path):
    raw = ragged()
    raw.values["f"] = object()
    with pytest.raises(AttributeError):
        points.write(tmp_path / "a.h5", raw)
    assert not list(tmp_path.iterdir())


def test_cells_of_some_samples_only_are_refused(tmp_path):
    raw = ragged()
    first, *rest = raw.places["P"]
    raw.places["P"] = (Geometry(first.points), *rest)
    with pytest.raises(OpError, match="sample 0 has no `weights` on `P`, and others have"):
        points.write(tmp_path / "a.h5", raw)
    assert not list(tmp_path.iterdir())
