"""Runs in several processes: weights, losses and errors equal those of one process."""

import json
from pathlib import Path

import pytest
import torch

from opdsl.parallel.mesh import ProcessMesh
from opdsl.train.config.schema import Settings
from opdsl.train.engine.fit import fit
from tests.unit.train.toy_problem import Toy, cloud, quick
from tests.worlds import run_world

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def trained(folder: str, settings: Settings, world: int, size: int = 13):
    """Train the toy in the processes of this world; return weights and rows."""
    mesh = ProcessMesh.of_world() if world > 1 else ProcessMesh()
    torch.manual_seed(0)
    module = Toy(dropout=0.0)
    result = fit(module, cloud(size), cloud(7, seed=2), settings, Path(folder), meta={}, mesh=mesh)
    return dict(module.state_dict()), result.history, result.metrics


def run(folder: Path, settings: Settings, world: int, size: int = 13):
    """Train in a world; return the weights of all ranks and the rows on the disk."""
    args = str(folder), settings, world, size
    results = [trained(*args)] if world == 1 else run_world(world, trained, *args)
    rows = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    return results, rows


def compare(tmp_path: Path, settings: Settings, world: int, size: int = 13) -> None:
    (alone,), expected = run(tmp_path / "1", settings, 1, size)
    results, rows = run(tmp_path / "n", settings, world, size)
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        _compare_rows(row, other)
    for weights, _, metrics in results:
        assert metrics.rel_l2 == pytest.approx(alone[2].rel_l2, rel=1e-9)
        for name, x in weights.items():
            torch.testing.assert_close(x, alone[0][name], **CLOSE)
            assert torch.equal(x, results[0][0][name])


def _compare_rows(row, other):
    assert row.keys() == other.keys()
    for key, value in other.items():
        if isinstance(value, dict):
            _compare_rows(row[key], value)
        else:
            assert row[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"accumulate": 2},
        {"noise": 0.1, "clip": 0.5},
        {"batch": 12},
        {"loss": "h1"},
    ],
    ids=["last batch of 3", "accumulate", "noise and clip", "last batch of 1", "h1"],
)
def test_two_processes_learn_as_one(tmp_path, more):
    compare(tmp_path, quick(2, **{"precision": "fp64", **more}), 2)
