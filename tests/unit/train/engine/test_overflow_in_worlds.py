"""Gradients that overflow in one of several processes."""

import pytest
import torch
from torch import nn

from opdsl.parallel.mesh import ProcessMesh
from opdsl.train.config.parallel_and_memory import Parallel
from opdsl.train.engine.fit import normaliser_of, objective_of, train_step_of
from opdsl.train.engine.loader import DeviceLoader
from opdsl.train.metrics.evaluate import grids_of
from tests.unit.train.toy_problem import cloud, quick
from tests.worlds import run_world

SCALE = 2.0**120
STEPS = 3


class Uneven(nn.Module):
    """A linear map with a gradient a million times as large in its second row.

    `fully_shard` gives each of two processes a row.
    """

    def __init__(self):
        super().__init__()
        self.rows = nn.Parameter(torch.tensor([[0.1, 0.2], [0.0, 0.0]]))

    def forward(self, a):
        first, second = (a.mT @ self.rows.mT).split(1, -1)
        return (first + 1e6 * second).mT


def overflowing(strategy: str):
    """Take steps whose scaled gradient overflows in the second row, and one with a lower scale."""
    mesh = ProcessMesh.of_world()
    settings = quick(1, parallel=Parallel(strategy=strategy))
    samples = cloud(4)
    grids = grids_of(samples, {}, {})
    objective = objective_of(settings, grids, banded=False)
    scales = normaliser_of(samples, settings, None, None, None, ["u"])
    step = train_step_of(Uneven(), scales, settings, grids, None, None, objective, mesh=mesh)
    step.scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    loader = DeviceLoader.of(samples, step.policy)
    step.begin()
    own, _ = loader.own_part(torch.arange(4), mesh)
    results = []
    for _ in range(STEPS):
        result = step.learn(loader.take(own), 0.01, samples=4)
        local = step.module.rows.grad
        local = local.to_local() if hasattr(local, "to_local") else local
        finite = bool(torch.isfinite(local).all())
        results.append((result.moved, result.overflow, step.scaler.get_scale(), finite))
    step.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    results.append(step.learn(loader.take(own), 0.01, samples=4).moved)
    return results


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_all_processes_skip_a_step_that_overflows_in_one(strategy):
    first, second = run_world(2, overflowing, strategy)
    skipped = [(False, True, SCALE / 2 ** (i + 1)) for i in range(STEPS)]
    for results in (first, second):
        assert [x[:3] for x in results[:-1]] == skipped
        assert results[-1] is True
    finite = [[x[3] for x in results[:-1]] for results in (first, second)]
    assert finite == [[strategy == "fsdp"] * STEPS, [False] * STEPS]
