"""Runs in several processes: weights, losses and errors equal those of one process."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from opdsl.diagnostics import OpError
from opdsl.parallel.mesh import ProcessMesh
from opdsl.train.config.optimization import Average, Optimizer
from opdsl.train.config.parallel_and_memory import Parallel
from opdsl.train.engine.fit import fit, normaliser_of, objective_of, train_step_of
from opdsl.train.engine.loader import DeviceLoader
from opdsl.train.losses.objective import LossValue, Objective
from opdsl.train.metrics.evaluate import grids_of
from tests.unit.train.toy_problem import Toy, cloud, quick
from tests.worlds import run_world

CLOSE = {"rtol": 1e-10, "atol": 1e-12}


CASES = {
    "last batch of 3": {},
    "accumulate": {"accumulate": 2},
    "noise and clip": {"noise": 0.1, "clip": 0.5},
    "last batch of 1": {"batch": 12},
    "h1": {"loss": "h1"},
    "mean of weights": {"average": Average(kind="ema", decay=0.9)},
    "lbfgs": {"optimizer": Optimizer(kind="lbfgs", lr=0.5, iterations=3), "batch": 13},
}


def trained(folder: str, world: int):
    """Train the toy in the processes of this world, in each case; return weights and errors."""
    mesh = ProcessMesh.of_world() if world > 1 else ProcessMesh()
    results = {}
    for name, more in CASES.items():
        torch.manual_seed(0)
        module, run = Toy(dropout=0.0), Path(folder, name)
        settings = quick(2, **{"precision": "fp64", **more})
        result = fit(module, cloud(13), cloud(7, seed=2), settings, run, meta={}, mesh=mesh)
        results[name] = dict(module.state_dict()), result.metrics
    return results


def rows_of(run: Path):
    rows = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    return rows


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """The folders and results of one process and of two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    return (one, trained(str(one), 1)), (two, *run_world(2, trained, str(two), 2))


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_as_one(worlds, case):
    (one, alone), (two, first, second) = worlds
    expected, rows = rows_of(one / case), rows_of(two / case)
    assert len(rows) == len(expected) == 2
    for row, other in zip(rows, expected, strict=True):
        _compare_rows(row, other)
    for name, x in alone[case][0].items():
        torch.testing.assert_close(first[case][0][name], x, **CLOSE)
        assert torch.equal(first[case][0][name], second[case][0][name])
    assert first[case][1] == second[case][1]


def _compare_rows(row, other):
    assert row.keys() == other.keys()
    for key, value in other.items():
        if isinstance(value, dict):
            _compare_rows(row[key], value)
        else:
            assert row[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key


class Normed(torch.nn.Module):
    """A network with statistics of batches."""

    def __init__(self):
        super().__init__()
        self.toy, self.norm = Toy(dropout=0.0), torch.nn.BatchNorm1d(1)

    def forward(self, **inputs):
        u = self.toy(**inputs)
        return self.norm(u.flatten(2)).reshape(u.shape)


def statistics(folder: str):
    torch.manual_seed(0)
    module, settings = Normed(), quick(2, precision="fp64")
    mesh = ProcessMesh.of_world()
    fit(module, cloud(13), cloud(7, seed=2), settings, Path(folder), meta={}, mesh=mesh)
    return module.norm.running_mean, module.norm.running_var


def test_norms_have_equal_statistics_in_all_processes(tmp_path):
    first, second = run_world(2, statistics, str(tmp_path / "run"))
    assert first[0].abs() > 1e-6  # they have moved
    assert (torch.equal(first[0], second[0]), torch.equal(first[1], second[1])) == (True, True)


def gradients(strategy: str, world: int):
    """Take steps, and return losses, norms, and whole weights and gradients."""
    mesh = ProcessMesh.of_world() if world > 1 else ProcessMesh()
    torch.manual_seed(0)
    settings = quick(1, precision="fp64", clip=0.5, parallel=Parallel(strategy=strategy))
    samples = cloud(5)
    grids = grids_of(samples, {}, {})
    objective = objective_of(settings, grids, banded=False)
    scales = normaliser_of(samples, settings, None, None, None, ["u"])
    step = train_step_of(Toy(0.0), scales, settings, grids, None, None, objective, mesh=mesh)
    loader = DeviceLoader.of(samples, step.policy)
    step.parts = 2 if strategy == "fsdp" else 1  # micro-batches, as many in each process
    step.begin()
    results = []
    for rows in (torch.arange(5), torch.tensor([3])):  # the second batch has no sample for rank 1
        own, counts = loader.own_part(rows, mesh)
        batch = replace(loader.take(own), counts=counts)
        result = step.learn(batch, 0.01, samples=len(rows))
        results.append((result.loss, result.norm, result.counted, result.moved))
    whole = [
        {k: _whole(x) for k, x in step.module.named_parameters()},
        {k: _whole(x.grad) for k, x in step.module.named_parameters()},
    ]
    return results, whole


def _whole(x):
    return x.full_tensor() if hasattr(x, "full_tensor") else x.detach().clone()


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("world", [2, 4])
def test_steps_have_the_losses_and_gradients_of_one_process(strategy, world):
    expected, whole = gradients("ddp", 1)
    for results, tensors in run_world(world, gradients, strategy, world):
        for own, other in zip(results, expected, strict=True):
            assert own == pytest.approx(other, rel=1e-10)
        for own, other in zip(tensors, whole, strict=True):
            for name, x in other.items():
                torch.testing.assert_close(own[name].detach(), x.detach(), **CLOSE)


class Watching:
    """Counts the calls of hooks, sees batches, and ends the run after its first epoch."""

    def __init__(self):
        self.batches, self.epochs, self.best = [], 0, None

    def on_batch(self, run, batch):
        self.batches.append((len(batch.inputs["a"]), batch.counts))
        return replace(batch, truth={k: 2 * x for k, x in batch.truth.items()})

    def on_epoch(self, run, row):
        self.epochs += 1
        run.stop("enough")


def watched(folder: str, world: int):
    mesh = ProcessMesh.of_world() if world > 1 else ProcessMesh()
    torch.manual_seed(0)
    module, seen = Toy(dropout=0.0), Watching()
    settings = quick(4, precision="fp64")
    result = fit(
        module, cloud(11), None, settings, Path(folder), meta={}, mesh=mesh, callbacks=[seen]
    )
    return seen.batches, seen.epochs, result.epochs, dict(module.state_dict())


def test_hooks_run_in_the_first_process_and_each_has_its_part_of_a_batch(tmp_path):
    batches, epochs, finished, weights = watched(str(tmp_path / "one"), 1)
    assert (epochs, finished) == (1, 1)
    assert batches == [(5, True), (5, True), (1, True)]
    first, second = run_world(2, watched, str(tmp_path / "two"), 2)
    assert first[0] == [(3, True), (3, True), (1, True)]
    assert second[0] == [(2, True), (2, True), (1, False)]
    assert [x[1:3] for x in (first, second)] == [(1, 1), (0, 1)]
    for x in (first, second):
        for name, value in weights.items():
            torch.testing.assert_close(x[3][name], value, **CLOSE)


def failing(folder: str):
    class Failing:
        def on_step(self, run, result):
            raise ZeroDivisionError("of the user")

    arguments = Toy(0.0), cloud(11), None, quick(2), Path(folder)
    mesh = ProcessMesh.of_world()
    with pytest.raises(OpError) as caught:
        fit(*arguments, meta={}, mesh=mesh, callbacks=[Failing()])
    return str(caught.value), [x.name for x in Path(folder, "checkpoints").glob("step-*")]


def test_an_exception_of_a_hook_saves_and_stops_all_processes(tmp_path):
    first, second = run_world(2, failing, str(tmp_path))
    assert first == second
    assert "OP0741" in first[0]
    assert "ZeroDivisionError: of the user" in first[0]
    assert first[1] == ["step-00000001"]


def factors(world: int):
    """Adaptive weights of a sum of two errors, after three steps."""
    mesh = ProcessMesh.of_world() if world > 1 else ProcessMesh()
    seen = []

    class Balanced(Objective):
        def __call__(self, x):
            error = (x.outputs["u"] - x.batch.truth["u"]).square().mean((1, 2))
            terms = {"first": float(error.detach().mean()), "second": float(len(error))}
            seen.append(dict(x.over_processes(terms) if x.over_processes else terms))
            return LossValue(error.mean(), {}, len(error))

    torch.manual_seed(0)
    settings, samples = quick(1, precision="fp64"), cloud(5)
    scales = normaliser_of(samples, settings, None, None, None, ["u"])
    grids = grids_of(samples, {}, {})
    step = train_step_of(Toy(0.0), scales, settings, grids, None, None, Balanced(), mesh=mesh)
    loader = DeviceLoader.of(samples, step.policy)
    step.begin()
    own, counts = loader.own_part(torch.arange(5), mesh)
    step.learn(replace(loader.take(own), counts=counts), 0.01, samples=5)
    return seen


def test_adaptive_weights_see_the_terms_of_the_whole_batch():
    ((alone,), (first,), (second,)) = factors(1), *run_world(2, factors, 2)
    assert first == second
    assert first["first"] == pytest.approx(alone["first"], rel=1e-12)
    assert first["second"] == pytest.approx((3 * 3 + 2 * 2) / 5)
