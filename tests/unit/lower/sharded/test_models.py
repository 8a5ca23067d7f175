"""Models on two and four processes: outputs, losses and gradients of one process, and its bytes."""

from collections import Counter
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from opdsl.compiler import load
from opdsl.lower.fuse.running import layer_of_stage
from opdsl.lower.module import OperatorModule, lower
from opdsl.lower.sharded import fused
from opdsl.lower.sharded.running import shard
from opdsl.nn.kernels.fourier_layer import kernels_available
from opdsl.parallel.exchanges import counted
from opdsl.parallel.mesh import ProcessMesh
from opdsl.parallel.sharded_weights import shard_weights
from opdsl.resources import root
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
SMALL = {"width": 4, "depth": 2}
# for each model: the program, its parameters, its grid, the sharded axis
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, tuple[int, ...]], str]] = {
    "fno-1d": ("fno_burgers", SMALL | {"modes": 5}, {"D": (19,)}, "x"),
    "fno-2d": ("fno_darcy", SMALL | {"modes": 3}, {"D": (33, 34)}, "x"),
    "fno-2d-last-axis": ("fno_darcy", SMALL | {"modes": 3}, {"D": (34, 33)}, "y"),
    "fno-3d": ("fno_3d", SMALL | {"modes": 2}, {"D": (13, 14, 13)}, "x"),
    "fno-3d-y": ("fno_3d", SMALL | {"modes": 2}, {"D": (13, 14, 13)}, "y"),
    "tfno": ("tfno_darcy", SMALL | {"modes": 3, "rank": 0.3}, {"D": (17, 15)}, "x"),
    "uno": ("uno_darcy", {"width": 3, "fine": 4, "coarse": 2}, {"D": (38, 37)}, "x"),
    "sfno": ("sfno_swe", SMALL | {"lmax": 6}, {"S": (33, 64)}, "lat"),
    "local": ("local_no", {"width": 3, "depth": 1, "modes": 3}, {"D": (33, 32)}, "x"),
    "half-waves": ("wave", {}, {"D": (33, 34)}, "auto"),
    "coda": (
        "coda_no",
        {"width": 4, "token": 2, "modes": 2, "depth": 1, "mark": 2},
        {"D": (21, 22)},
        "y",
    ),
    "transolver": (TRANSOLVER, {}, {"D": (9, 7)}, "x"),
}
ROLLOUT = "rno_burgers", {"width": 4, "modes": 3}, {"D": (15,)}, "x"


def module_of(program: str, params: dict[str, Any]) -> OperatorModule:
    text = program if "\n" in program else root("specs") / f"{program}.op"
    torch.manual_seed(0)
    return lower(load(text, **params))


def inputs_of(
    module: OperatorModule, sizes: dict[str, tuple[int, ...]], batch: int = 2
) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        x.name: torch.randn(
            batch, int(x.space.channels), *x.space.domain.at(sizes), dtype=torch.float64
        )
        for x in module.graph.inputs
    }


def losses(module: OperatorModule, inputs: dict[str, Tensor], steps: int) -> dict[str, Tensor]:
    """The outputs, their mean squares, and the gradients of weights and inputs."""
    own = {k: x.detach().requires_grad_() for k, x in inputs.items()}
    module.zero_grad()
    result = module.rollout(steps, **own) if steps else module(**own)
    outputs = result if isinstance(result, dict) else {"": result}
    loss = torch.stack(
        [(y * y.detach().cos().flip(-1)).square().mean() for y in outputs.values()]
    ).sum()
    loss.backward()
    named = {f"output {k}": x.detach() for k, x in outputs.items()}
    gradients = {f"d{k}": x.grad for k, x in own.items()}
    return (
        named
        | {"loss": loss.detach()}
        | gradients
        | {k: p.grad for k, p in module.named_parameters()}
    )


def compare(
    mesh: ProcessMesh, case: tuple[Any, ...], dtype: torch.dtype, steps: int = 0
) -> tuple[float, Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """The greatest relative error, and bytes as planned and as counted."""
    program, params, sizes, axis = case
    module = module_of(program, params).to(dtype)
    inputs = {k: x.to(dtype) for k, x in inputs_of(module, sizes).items()}
    expected = losses(module, inputs, steps)
    shard(module, mesh, axis)
    assert module.sharding is not None
    with counted() as traffic:
        got = losses(module, inputs, steps)
    weights = dict(module.named_parameters())
    for key, weight in weights.items():
        have = torch.zeros_like(weight) if got[key] is None else got[key]
        dist.all_reduce(have, group=mesh.space_group)
        got[key] = have
    # a gradient that is zero but for rounding is compared with all gradients together
    least = 1e-2 * torch.stack([expected[k].norm() for k in weights]).norm()
    errors = [(got[k] - x).norm() / (x.norm() + least) for k, x in expected.items()]
    worst = torch.stack(errors).max().item()
    (plan,) = module.sharding.plans.values()
    planned: Counter[tuple[str, str]] = Counter()
    for x in plan.exchanges:
        planned[x.kind, "forward"] += x.sent[mesh.space_index] * max(1, steps)
        planned[x.kind, "backward"] += x.sent_backward[mesh.space_index] * max(1, steps)
    del traffic["inputs", "backward"]
    return worst, +planned, +traffic


def on_world(space: int, names: list[str], dtype: torch.dtype) -> dict[str, Any]:
    mesh = ProcessMesh.of_world(space)
    result = {name: compare(mesh, MODELS[name], dtype) for name in names if name in MODELS}
    if "rno" in names:
        result["rno"] = compare(mesh, ROLLOUT, dtype, steps=3)
    return result


NAMES = [*MODELS, "rno"]


@pytest.fixture(scope="module")
def on_two() -> list[dict[str, Any]]:
    return run_world(2, on_world, 2, NAMES, torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_on_two_processes(name: str, on_two: list[dict[str, Any]]) -> None:
    for of_rank in on_two:
        worst, planned, sent = of_rank[name]
        assert worst < 1e-10
        assert sent == planned


@pytest.mark.slow
def test_models_on_four_processes_of_uneven_parts() -> None:
    names = ["fno-1d", "fno-3d", "uno", "sfno", "local", "rno"]
    for of_rank in run_world(4, on_world, 4, names, torch.float64):
        for worst, planned, sent in of_rank.values():
            assert worst < 1e-10
            assert sent == planned


def test_first_gradients_in_float32() -> None:
    names = ["fno-1d", "fno-2d", "fno-3d", "tfno", "uno", "sfno", "transolver", "rno"]
    for of_rank in run_world(2, on_world, 2, names, torch.float32):
        for worst, planned, sent in of_rank.values():
            assert worst < 1e-5
            assert sent == planned


def two_by_two(*, weights_too: bool) -> list[float]:
    """The greatest errors where two processes have one sample and two have the other.

    With `weights_too` those that have equal parts of the grid divide the weights.
    """
    mesh = ProcessMesh.of_world(2)
    result = []
    for name in ("tfno", "sfno", "transolver", "local", "coda"):
        program, params, sizes, axis = MODELS[name]
        module = module_of(program, params).double()
        inputs = inputs_of(module, sizes)
        expected = losses(module, inputs, 0)
        shard(module, mesh, axis)
        if weights_too:
            shard_weights(module, module.called_parts(), mesh)
        own = slice(mesh.data_index, mesh.data_index + 1)
        got = losses(module, {k: x[own] for k, x in inputs.items()}, 0)
        weights = dict(module.named_parameters())
        least = 1e-2 * torch.stack([expected[k].norm() for k in weights]).norm()
        for key in weights:
            gradient = got[key].full_tensor() if weights_too else got[key]
            # sums over space; over data the sum is twice the mean, and FSDP has added up already
            dist.all_reduce(gradient, group=mesh.space_group)
            if not weights_too:
                dist.all_reduce(gradient, group=mesh.data_group)
            result.append(
                ((gradient / 2 - expected[key]).norm() / (expected[key].norm() + least)).item()
            )
    return result


@pytest.mark.parametrize("weights_too", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_parts_of_grids_and_of_batches(weights_too: bool) -> None:
    for errors in run_world(4, two_by_two_of, weights_too):
        assert max(errors) < 1e-10


def two_by_two_of(weights_too: bool) -> list[float]:
    return two_by_two(weights_too=weights_too)


def layers_on_parts() -> int:
    """How many Fourier layers run as one operation on parts."""
    count = 0

    def spy(*arguments: Any) -> Tensor:
        nonlocal count
        count += 1
        return layer_of_stage(*arguments)

    fused.layer_of_stage = spy
    program, params, sizes, axis = MODELS["fno-3d"]
    module = module_of(program, params)
    module.fuse = True
    shard(module, ProcessMesh.of_world(2), axis)
    module(**{k: x.float() for k, x in inputs_of(module, sizes).items()})
    return count


def test_layers_run_as_one_operation_on_parts() -> None:
    assert kernels_available()
    assert run_world(2, layers_on_parts) == [2, 2]
