"""Modes that are added during training, where processes divide the weights: as in one process."""

from pathlib import Path

import pytest
import torch

from opdsl.compiler import load
from opdsl.lower.module import lower
from opdsl.parallel.mesh import ProcessMesh
from opdsl.resources import root
from opdsl.train.config.optimization import Incremental
from opdsl.train.config.parallel_and_memory import Parallel
from opdsl.train.engine.fit import fit
from opdsl.train.run.checkpoint import CheckpointStore
from tests.unit.train.toy_problem import Cloud, quick
from tests.worlds import run_world

EPOCHS = 4
KINDS = {
    "linear": Incremental(start=1, until=0.75),
    "loss_gap": Incremental(kind="loss_gap", start=1, gap=0.9),
    "gradient": Incremental(kind="gradient", start=1, explained=0.9, buffer=1, until=0.9),
}


def trained(folder: str, world: int):
    """Train an FNO with each kind; return its modes and whole weights."""
    mesh = ProcessMesh.of_world() if world > 1 else ProcessMesh()
    random = torch.Generator().manual_seed(2)
    a = torch.randn(7, 1, 17, generator=random)
    samples = Cloud({"x": a}, {"y": a.roll(1, -1).sin().expand(-1, 17, -1)}, resolution=(17,))
    results = {}
    for name, plan in KINDS.items():
        torch.manual_seed(0)
        module = lower(load(root("specs") / "fno_burgers.op", width=4, depth=2, modes=5))
        settings = quick(
            EPOCHS, precision="fp64", incremental=plan, parallel=Parallel(strategy="fsdp")
        )
        run = Path(folder, name)
        fit(module, samples, None, settings, run, meta={"arch": "fno"}, mesh=mesh)
        weights = {k: x.full_tensor() if world > 1 else x for k, x in module.state_dict().items()}
        state = CheckpointStore(run, 3).load()
        assert state is not None
        results[name] = state["progress"]["modes"], weights
    return results


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    alone = trained(str(tmp_path_factory.mktemp("one")), 1)
    return alone, run_world(2, trained, str(tmp_path_factory.mktemp("two")), 2)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_with_divided_weights_add_modes_as_one(runs, kind):
    alone, world = runs
    modes, weights = alone[kind]
    for own in world:
        assert own[kind][0] == modes
        for name, x in weights.items():
            torch.testing.assert_close(own[kind][1][name], x, rtol=1e-10, atol=1e-12)


def test_the_gradient_has_added_modes(runs):
    assert runs[0]["gradient"][0] > 1
