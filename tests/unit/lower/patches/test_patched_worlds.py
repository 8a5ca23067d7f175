"""Steps of training on patches in several processes: losses and gradients of one process."""

from dataclasses import replace

import pytest
import torch

from opdsl.compiler import load
from opdsl.ir.patches.layout import Decomposition
from opdsl.lower.patches.patched import PatchedModule
from opdsl.parallel.mesh import ProcessMesh
from opdsl.train.config.parallel_and_memory import Parallel
from opdsl.train.config.schema import Optimizer, Settings
from opdsl.train.engine.fit import normaliser_of, objective_of, train_step_of
from opdsl.train.engine.loader import DeviceLoader
from opdsl.train.metrics.evaluate import grids_of
from tests.e2e.tiny_run import Samples
from tests.worlds import run_world

PROGRAM = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model Waves {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 16)
  input a : D -> R^1
  output u : D -> R^1

  u = concat(a, coords(D)) |> Lift(out = 4) |> FourierLayer(modes = 2) |> Project(out = 1)
}
"""


def steps(world, space, strategy):
    """Take two steps, the second of which has fewer samples; return losses and gradients."""
    mesh = ProcessMesh.of_world(space) if world > 1 else ProcessMesh()
    random = torch.Generator().manual_seed(1)
    a, u = (torch.randn(7, 1, 16, 20, generator=random) for _ in range(2))
    samples = Samples({"a": a}, {"u": u}, resolution=(16, 20))
    object.__setattr__(samples, "weights", {})
    object.__setattr__(samples, "model_points", {})
    settings = Settings(
        optimizer=Optimizer(kind="sgd"), precision="fp64", device="cpu", batch=5,
        parallel=Parallel(strategy=strategy, space=space),
    )  # fmt: skip
    torch.manual_seed(0)
    module = PatchedModule(load(PROGRAM), Decomposition((2, 2), 1, 0.25, "edge"), at_once=3)
    grids = grids_of(samples, {}, {}, None)
    scales = normaliser_of(samples, settings, None, None, None, [])
    objective = objective_of(settings, grids, banded=False)
    step = train_step_of(module, scales, settings, grids, None, None, objective, mesh=mesh)
    if space > 1:
        module.share(mesh)
    loader = DeviceLoader.of(samples, step.policy)
    step.begin()
    results = []
    for rows in ([4, 0, 6, 1, 2], [3, 5]):
        own, counts = loader.own_part(torch.tensor(rows), mesh)
        result = step.learn(replace(loader.take(own), counts=counts), 1e-3, samples=len(rows))
        gradients = [whole(p.grad) for p in module.parameters()]
        results.append((result.loss, result.norm, gradients))
    return results


def whole(x):
    return x.full_tensor() if hasattr(x, "full_tensor") else x.clone()


@pytest.fixture(scope="module")
def alone():
    return steps(1, 1, "ddp")


@pytest.mark.parametrize(
    ("world", "space", "strategy"),
    [
        pytest.param(2, 1, "ddp", marks=pytest.mark.slow),
        (2, 1, "fsdp"),
        (2, 2, "ddp"),
        pytest.param(4, 2, "ddp", marks=pytest.mark.slow),
    ],
)
def test_processes_that_share_samples_and_patches_have_the_steps_of_one(
    alone, world, space, strategy
):
    for results in run_world(world, steps, world, space, strategy):
        for (loss, norm, gradients), expected in zip(results, alone, strict=True):
            assert (loss, norm) == pytest.approx(expected[:2], rel=1e-10)
            for x, y in zip(gradients, expected[2], strict=True):
                assert torch.allclose(x, y, rtol=1e-10, atol=1e-12)
