"""Every reader of the program with good files to damage: what a stranger may hand to a user.

A `Reader` has files that are read without a diagnostic, and a function that reads one of them, or
a folder. It may raise `OpError` and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import meshio
import numpy as np
import torch

import opdsl
from opdsl.compiler import check
from opdsl.data.io.dataset import open_dataset, stream_dataset
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import points
from opdsl.data.io.rows.row_files import open_rows
from opdsl.data.io.well_writing import WellLayout, write_well
from opdsl.export import to_json
from opdsl.export.folder import MANIFEST, load_compiled, save_compiled
from opdsl.migrate.neuralop.calls import read_checkpoint
from opdsl.migrate.neuralop.calls import read_config as read_neuralop_config
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.packed import Packed
from opdsl.resources import root
from opdsl.train.run.checkpoint import STATE
from opdsl.train.run.metrics_log import MetricsLog, read_metrics
from opdsl.workflow.datasets.held_out import tests_of, valid_of
from opdsl.workflow.folder.reading import read_run_folder
from opdsl.workflow.folder.weights import trained_module
from opdsl.workflow.programs.config import read_config
from opdsl.workflow.runs.calibration import stored_calibration
from opdsl.workflow.training.resuming import resumable_run
from tests.e2e import tiny_run
from tests.e2e.command_line import TINY, TRAIN, good
from tests.property.array_readers import array_readers
from tests.property.plain_array_readers import plain_array_readers
from tests.property.reader import Reader

SPECS = ("fno_darcy", "deeponet", "gino")
SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]], float)
HALVES = [("triangle", np.array([[0, 1, 2], [0, 2, 3]]))]
MESHES = ("vtu", "vtk", "stl", "obj", "ply", "msh")


def make_readers(folder: Path) -> tuple[Reader, ...]:
    """Every reader, with its good files in `folder`."""
    made = [
        Reader("program", _programs(), check),
        Reader("graph", _graphs(folder), check),
        Reader("yaml", _configs(folder), lambda x: read_config(str(x))),
        Reader("import config", _import_configs(folder), read_neuralop_config),
        Reader("pt", _pts(folder), _open_and_stream),
        Reader("import checkpoint", _checkpoints(folder), read_checkpoint),
        Reader("npz", _npzs(folder), _open_and_stream),
        Reader("h5", _h5s(folder), _open_and_stream),
        Reader("compiled", (_compiled(folder),), load_compiled, ("*",), _seal_compiled),
        *(Reader(x, _meshes(folder, x), open_dataset) for x in MESHES),
        *array_readers(folder),
        *plain_array_readers(folder),
        Reader("journal", (_journal(folder),), _read_journal, ("metrics.jsonl",)),
        Reader(
            "resumed run", (_tiny_run(folder),), _resume, ("checkpoints/step*/state.pt",), _seal
        ),
        Reader("run", (_run(folder),), _open_run, ("*", "checkpoints/*/*"), _seal),
    ]
    return tuple(made)


# --- programs, graphs, settings -----------------------------------------------------------------


def _programs() -> tuple[Path, ...]:
    return tuple(sorted(root("specs").glob("*.op")))


def _graphs(folder: Path) -> tuple[Path, ...]:
    made = []
    for path in _programs()[:4]:
        graph = opdsl.load(path)
        made.append(folder / f"{path.stem}.json")
        made[-1].write_text(json.dumps(to_json(graph), indent=1), encoding="utf-8")
    return tuple(made)


def _configs(folder: Path) -> tuple[Path, ...]:
    path = folder / "run.yaml"
    path.write_text(
        "seed: 3\nbatch: 8\noptimizer:\n  kind: adamw\n  lr: 1e-3  # slow\n"
        "eval:\n  resolutions: [16, 32]\nmodel:\n  width: 8\n  modes: [4, 4]\n",
        encoding="utf-8",
    )
    return (path,)


def _import_configs(folder: Path) -> tuple[Path, ...]:
    path = folder / "neuralop.yaml"
    path.write_text(
        "model:\n  model_arch: fno\n  n_modes: [16, 16]\n  in_channels: 1\n  out_channels: 1\n"
        "  hidden_channels: 32\n",
        encoding="utf-8",
    )
    return (path,)


# --- data ---------------------------------------------------------------------------------------


def _random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)))


def _pts(folder: Path) -> tuple[Path, ...]:
    pair = {"x": _random(3, 8, 8), "y": _random(3, 1, 8, 8)}
    sample = {"vertices": _random(5, 3), "press": _random(5), "cells": torch.tensor([[0, 1, 2]])}
    paths = [folder / f"{x}.pt" for x in ("pair", "list", "legacy")]
    torch.save(pair, paths[0])
    torch.save([sample, sample], paths[1])
    torch.save(pair, paths[2], _use_new_zipfile_serialization=False)
    return tuple(paths)


def _checkpoints(folder: Path) -> tuple[Path, ...]:
    kept = {"_name": "FNO", "n_modes": (4, 4), "in_channels": 1, "non_linearity": torch.nn.GELU()}
    path = folder / "model_state_dict.pt"
    torch.save({"lift.weight": _random(2, 3), "_metadata": kept}, path)
    return (path,)


def _npzs(folder: Path) -> tuple[Path, ...]:
    pair = {"x": _random(3, 8, 8).numpy(), "y": _random(3, 1, 8, 8).double().numpy()}
    np.savez(folder / "stored.npz", **pair)
    np.savez_compressed(folder / "deflated.npz", **pair)
    return folder / "stored.npz", folder / "deflated.npz"


def _h5s(folder: Path) -> tuple[Path, ...]:
    axes = {"x": np.linspace(0, 1, 6), "y": np.linspace(0, 1, 5)}
    plan = WellLayout("made", axes, {"a": "input", "u": "output"}, 2, "WALL", "node", {"nu": 0.5})
    with write_well(folder / "well.h5", plan) as put:
        for i in range(2):
            put(i, {"a": _random(6, 5).numpy(), "u": _random(6, 5).numpy()})
    places = tuple(Geometry(_random(n, 2)) for n in (5, 3))
    values = {"f": Packed.of(_random(2, n) for n in (5, 3)), "s": _random(2, 2)}
    roles = {"f": "input", "s": "output"}
    raw = FileFields("set", values, roles, (), "periodic", {"P": places}, {"f": "P"})  # type: ignore[arg-type]
    points.write(folder / "points.h5", raw)
    with h5py.File(folder / "packed.h5", "w") as file, h5py.File(folder / "well.h5") as from_:
        for name in from_:
            from_.copy(name, file)
        file.attrs.update(from_.attrs)
        values_of = from_["t0_fields/a"][()]
        del file["t0_fields/a"]
        made = file["t0_fields"].create_dataset("a", data=values_of, compression="gzip")
        made.attrs.update(from_["t0_fields/a"].attrs)
    return folder / "well.h5", folder / "points.h5", folder / "packed.h5"


def _meshes(folder: Path, ending: str) -> tuple[Path, ...]:
    form = "gmsh" if ending == "msh" else None
    made = []
    for i, options in enumerate(({}, {"binary": False}, {"binary": True})):
        path = folder / f"mesh{i}.{ending}"
        fields = {} if ending in {"stl", "obj"} else {"p": np.arange(4.0)}
        try:
            meshio.Mesh(SQUARE, HALVES, point_data=fields).write(path, form, **options)
        except TypeError:  # this format is never binary
            continue
        made.append(path)
    return tuple(made)


def _open_and_stream(path: Path) -> None:
    open_dataset(path)
    rows = open_rows(path)
    if rows is not None:
        rows.read([len(rows) - 1, 0])
    for piece in stream_dataset(path, size=2).pieces:
        assert piece.values


# --- folders ------------------------------------------------------------------------------------


def _compiled(folder: Path) -> Path:
    module = opdsl.compile(TINY)
    return save_compiled(opdsl.load(TINY), module, TINY, folder / "compiled")


def _seal_compiled(folder: Path) -> None:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        for name in manifest["sha256"]:
            manifest["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    except (OSError, ValueError, LookupError, TypeError):
        return
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def _journal(folder: Path) -> Path:
    home = folder / "journal"
    home.mkdir()
    for epoch in (1, 2, 3):
        tests = {"same": {"rel_l2": 0.5 / epoch, "rel_h1": None}}
        row = {"epoch": epoch, "step": epoch, "lr": 1e-3, "train_loss": 0.1, "tests": tests}
        MetricsLog(home).append(row)
    return home


def _read_journal(folder: Path) -> None:
    rows = read_metrics(folder)
    assert MetricsLog(folder).keep_until(10**30)[0] == rows
    assert all(isinstance(x["epoch"], int) for x in rows)


def _tiny_run(folder: Path) -> Path:
    tiny_run.train(folder / "tiny", epochs=1)
    return folder / "tiny"


def _resume(folder: Path) -> None:
    tiny_run.train(folder, epochs=1, resume=True)


def _run(folder: Path) -> Path:
    text = (TINY + TRAIN).replace("R^{coefficient}", "R^{x}").replace("R^{pressure}", "R^{y}")
    (folder / "tiny.op").write_text(text, encoding="utf-8")
    np.savez(folder / "d.npz", x=_random(12, 18, 18).numpy(), y=_random(12, 18, 18).numpy())
    more = ("--data", folder / "d.npz", "--set", "eval.resolutions=[9]")
    good("train", folder / "tiny.op", "--out", folder / "run", "--quiet", *more)
    shutil.rmtree(folder / "run" / "timings", ignore_errors=True)
    return folder / "run"


def _open_run(folder: Path) -> None:
    saved = read_run_folder(str(folder))
    tests_of(saved.folder, saved.about)
    valid_of(saved.folder, saved.about)
    for last in (False, True):
        trained_module(saved.folder, saved.graph, saved.settings, last=last)
        stored_calibration(folder)
    assert opdsl.open_run(folder).metrics.history == read_metrics(folder)
    run = resumable_run(folder)
    assert run.finished in {True, False}
    run.data()


def _seal(folder: Path) -> None:
    """The hash of a stranger's state is right."""
    for state in folder.glob(f"checkpoints/*/{STATE}"):
        digest = hashlib.sha256(state.read_bytes()).hexdigest()
        manifest = {"files": {STATE: {"sha256": digest}}}
        state.with_name("MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")


def reopened_zip(data: bytes) -> tuple[dict[str, bytes], dict[str, int]]:
    """The records of an archive and how each is compressed."""
    with zipfile.ZipFile(io.BytesIO(data)) as held:
        entries = held.infolist()
        kinds = {x.filename: x.compress_type for x in entries}
        return {x.filename: held.read(x) for x in entries}, kinds
