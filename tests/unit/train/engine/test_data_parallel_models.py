"""Steps of published models in two and four processes: losses and gradients of one process."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from opdsl import Geometry, Packed
from opdsl.compiler import load
from opdsl.lower.module import lower
from opdsl.parallel.mesh import ProcessMesh
from opdsl.resources import root
from opdsl.train.config.parallel_and_memory import Parallel
from opdsl.train.config.schema import Optimizer, Settings
from opdsl.train.engine.fit import normaliser_of, objective_of, train_step_of
from opdsl.train.engine.loader import DeviceLoader
from opdsl.train.engine.rollout import Rollout
from opdsl.train.metrics.evaluate import grids_of
from tests.worlds import run_world

TRANSOLVER = """edition 2026
from std.pointwise import Lift, Project
from std.transformer import PhysicsLayer
model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 4)
  input a : D -> R^1
  output u : D -> R^1
  u = concat(a, coords(D)) |> Lift(out = 8)
    |> repeat 2 { PhysicsLayer(slices = 4, heads = 2) } |> norm(kind = layer) |> Project(out = 1)
}
"""
GINO = """edition 2026
from std.fourier import FNOBlock
from std.pointwise import Lift, Project
model M {
  domain P = points(2, geometry = per_sample, measure = given)
  domain L = grid(x: 0..1, y: 0..1, boundary = periodic, size = 8)
  domain Q = points(2, geometry = per_sample)
  input f : P -> R^2
  output u : Q -> R^1
  h = f |> gno(to = L, radius = 0.6, kernel = [8], matrix = full,
    reduction = mean, empty = zero, out = 4)
    |> FNOBlock(modes = 2)
  u = h |> gno(to = Q, radius = 0.4, kernel = [8], reduction = mean) |> Project(out = 1)
}
"""
SMALL = {"width": 4, "depth": 2}
MODELS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "fno-1d": ("fno_burgers", SMALL | {"modes": 5}, (19,)),
    "fno-2d": ("fno_darcy", SMALL | {"modes": 3}, (33, 34)),
    "fno-3d": ("fno_3d", SMALL | {"modes": 2}, (13, 13, 13)),
    "tfno": ("tfno_darcy", SMALL | {"modes": 3, "rank": 0.3}, (17, 15)),
    "uno": ("uno_darcy", {"width": 3, "fine": 4, "coarse": 2}, (38, 37)),
    "sfno": ("sfno_swe", SMALL | {"lmax": 6}, (33, 64)),
    "transolver": (TRANSOLVER, {}, (9, 7)),
    "rno": ("rno_burgers", {"width": 4, "modes": 3}, (15,)),
    "gno": ("gno_poisson", {"width": 4, "depth": 2}, ()),
    "gino": (GINO, {}, ()),
}
SIZES = (9, 30, 12, 17, 25, 11, 8)
STEPS = 3  # in time, of the rollout


@dataclass(frozen=True)
class Samples:
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    model_points: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    name: str = "samples"
    fingerprint: str = "s0"
    resolution: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(SIZES)


def samples_of(graph: Any, sizes: tuple[int, ...], steps: int) -> Samples:
    """Random functions on a grid of these sizes, or on points, of another number in each sample."""
    random = torch.Generator().manual_seed(1)
    domains = {x.space.domain.name: x.space.domain for x in (*graph.inputs, *graph.outputs)}
    places = {}
    for name, domain in domains.items():
        if domain.kind == "points":
            points = [torch.rand(n, 2, generator=random) for n in SIZES]
            measures = [torch.full((n,), 1 / n) for n in SIZES]
            given = graph.inputs[0].space.domain.measure == "given"
            places[name] = tuple(
                Geometry(x, m) if given else Geometry(x)
                for x, m in zip(points, measures, strict=True)
            )

    def values(port: Any, *time: int) -> Any:
        channels, domain = int(port.space.channels), port.space.domain
        if domain.name in places:
            return Packed.of(torch.randn(channels, n, generator=random) for n in SIZES)
        shape = (len(SIZES), *time, channels, *domain.at({domain.name: sizes}))
        return torch.randn(shape, generator=random)

    times = (steps,) if steps else ()
    inputs = {x.name: values(x) for x in graph.inputs}
    return Samples(inputs, {x.name: values(x, *times) for x in graph.outputs}, places)


def steps(name: str, strategy: str, world: int, precision: str) -> tuple[list[Any], dict[str, Any]]:
    """Take two steps, the second of which has no samples for some; return losses and tensors."""
    program, params, sizes = MODELS[name]
    mesh = ProcessMesh.of_world() if world > 1 else ProcessMesh()
    graph = load(program if "\n" in program else root("specs") / f"{program}.op", **params)
    settings = Settings(
        optimizer=Optimizer(kind="sgd"), precision=precision, device="cpu", batch=5,
        parallel=Parallel(strategy=strategy), noise=0.1,
    )  # fmt: skip
    loop = None
    if graph.feedback:
        axes = {x.name: x.space.domain.dims for x in graph.inputs}
        loop = Rollout(tuple((x.output, x.input) for x in graph.feedback), axes)
    samples = samples_of(graph, sizes, STEPS if loop else 0)
    torch.manual_seed(0)
    module = lower(graph)
    grids = grids_of(samples, {}, {}, loop)
    scales = normaliser_of(samples, settings, loop, None, None, [])
    objective = objective_of(settings, grids, banded=False)
    step = train_step_of(module, scales, settings, grids, loop, None, objective, mesh=mesh)
    loader = DeviceLoader.of(samples, step.policy)
    step.begin()
    results, tensors = [], {}
    for i, rows in enumerate(([4, 0, 6, 1, 2], [3, 5])):
        own, counts = loader.own_part(torch.tensor(rows), mesh)
        batch = replace(loader.take(own), counts=counts)
        result = step.learn(batch, 1e-3, samples=len(rows))
        results.append((result.loss, result.norm, result.counted, result.moved))
        tensors |= {f"{k} {i}": _whole(p.grad) for k, p in module.named_parameters()}
    return results, tensors


def _whole(x: Any) -> torch.Tensor:
    return x.full_tensor() if hasattr(x, "full_tensor") else x.clone()


def all_models(strategy: str, world: int, precision: str) -> dict[str, Any]:
    return {name: steps(name, strategy, world, precision) for name in MODELS}


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return {x: all_models("ddp", 1, x) for x in ("fp64", "fp32")}


def compare(alone: dict[str, Any], world: int, strategy: str, precision: str, near: float) -> None:
    for of_rank in run_world(world, all_models, strategy, world, precision):
        for name, (results, tensors) in of_rank.items():
            expected, gradients = alone[precision][name]
            for own, other in zip(results, expected, strict=True):
                assert own == pytest.approx(other, rel=near if precision == "fp64" else 1e-4), name
            if precision == "fp32":  # of the first step, all weights together
                keys = [k for k in gradients if k.endswith(" 0")]
                whole = [torch.cat([x[k].flatten() for k in keys]) for x in (tensors, gradients)]
                assert (whole[0] - whole[1]).norm() < near * whole[1].norm(), name
                continue
            for key, x in gradients.items():
                error = (tensors[key] - x).norm() / x.norm().clamp_min(1e-30)
                assert error < near, (name, key)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_have_the_losses_and_gradients_of_one(alone, strategy):
    compare(alone, 2, strategy, "fp64", 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_four_processes_have_the_losses_and_gradients_of_one(alone, strategy):
    compare(alone, 4, strategy, "fp64", 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_first_gradients_in_float32_differ_by_rounding(alone, strategy):
    compare(alone, 2, strategy, "fp32", 1e-5)
