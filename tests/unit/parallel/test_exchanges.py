"""Exchanges among processes: their results, their transposes, and the bytes that they count."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from opdsl.parallel import exchanges
from opdsl.parallel.exchanges import SpaceGroup, counted
from opdsl.parallel.mesh import ProcessMesh
from tests.worlds import run_world

N, C, WORLD = 7, 3, 3  # parts of 3, 2 and 2 points; of one channel each


def whole(*, complex_values: bool = False) -> Tensor:
    """(2, 7, 3), equal on all processes."""
    x = torch.arange(2.0 * N * C, dtype=torch.float64).reshape(2, N, C).sin()
    return torch.complex(x, x.cos()) if complex_values else x


def space_of() -> SpaceGroup:
    mesh = ProcessMesh.of_world(WORLD)
    assert mesh.space_group is not None
    return SpaceGroup(mesh.space_group, mesh.space_index, mesh.space)


def wanted(space: SpaceGroup) -> list[range]:
    return [range(r.start - 5, r.stop + 1) for r in space.parts(N)]  # beyond the next process


def cut(x: Tensor, space: SpaceGroup) -> Tensor:
    return exchanges.narrow(x, 1, space.own(N))


CASES: dict[str, Callable[[Tensor, SpaceGroup], Tensor]] = {
    "transpose": lambda x, s: exchanges.transpose(cut(x, s), s, 1, N, 2),
    "all_gather": lambda x, s: exchanges.all_gather(cut(x, s), s, 1, N),
    "reduce_scatter": lambda x, s: exchanges.reduce_scatter(x * (s.index + 1), s, 1),
    "fetch": lambda x, s: exchanges.fetch(cut(x, s), s, 1, N, wanted(s)),
    "all_reduce": lambda x, s: exchanges.all_reduce(x * (s.index + 1), s),
}


def expected(name: str, x: Tensor, s: SpaceGroup) -> Tensor:
    """Compute what each exchange returns on process `s.index` from the whole values."""
    if name == "transpose":
        return exchanges.narrow(x, 2, s.own(C))
    if name == "all_gather":
        return x
    if name == "fetch":
        return x[:, [i % N for i in wanted(s)[s.index]]]
    total = x * sum(range(1, WORLD + 1))
    return cut(total, s) if name == "reduce_scatter" else total


def run() -> dict[tuple[str, bool], dict[str, Any]]:
    space = space_of()
    kinds = itertools.product(CASES, (False, True))
    return {
        (name, complex_values): run_one(name, complex_values, space)
        for name, complex_values in kinds
    }


def run_one(name: str, complex_values: bool, s: SpaceGroup) -> dict[str, Any]:
    x = whole(complex_values=complex_values).requires_grad_()
    with counted() as traffic:
        y = CASES[name](x, s)
        # any loss that differs among the processes; gradients add up over them
        (
            y * (s.index + 2.0) * torch.arange(y.shape[1]).cos()[None, :, None]
        ).abs().square().sum().backward()
    return {"y": y.detach(), "g": x.grad, "traffic": dict(traffic)}


@pytest.fixture(scope="module")
def results_of_all() -> list[dict[tuple[str, bool], dict[str, Any]]]:
    return run_world(WORLD, run)


@pytest.mark.parametrize("complex_values", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_exchange_and_gradient(
    results_of_all: list[dict[tuple[str, bool], dict[str, Any]]], name: str, complex_values: bool
) -> None:
    results = [x[name, complex_values] for x in results_of_all]
    x = whole(complex_values=complex_values).requires_grad_()
    loss = x.new_zeros((), dtype=torch.float64)
    for i, result in enumerate(results):
        s = SpaceGroup(None, i, WORLD)  # type: ignore[arg-type]  # parts need no group
        y = expected(name, x, s)
        torch.testing.assert_close(result["y"], y.detach(), rtol=0, atol=1e-14)
        loss = (
            loss
            + (y * (i + 2.0) * torch.arange(y.shape[1]).cos()[None, :, None]).abs().square().sum()
        )
    loss.backward()
    torch.testing.assert_close(sum(r["g"] for r in results), x.grad, rtol=1e-13, atol=1e-12)


def test_bytes_that_are_sent_to_others(
    results_of_all: list[dict[tuple[str, bool], dict[str, Any]]],
) -> None:
    number = 8  # bytes, float64
    first = results_of_all[0]["transpose", False]["traffic"]
    sent = 2 * 3 * 2 * number  # two of three channels of three points of two samples
    received = 2 * 4 * 1 * number
    assert first == {("all_to_all", "forward"): sent, ("all_to_all", "backward"): received}


def ends() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    s, x, v = space_of(), whole().requires_grad_(), torch.ones(2, requires_grad=True)
    part = exchanges.own_part(x, s, 1)
    vector = exchanges.shared_input(v, s)
    y = exchanges.whole_result(part * vector[:, None, None], s, 1, N)
    # a vector that all compute from the parts
    z = exchanges.shared_result(exchanges.all_reduce(part.sum((1, 2)) * vector, s), s)
    (y.square().sum() + z.square().sum()).backward()
    assert x.grad is not None
    assert v.grad is not None
    return y.detach(), z.detach(), x.grad, v.grad


def test_ends_give_whole_results_and_whole_gradients_on_all() -> None:
    x, v = whole().requires_grad_(), torch.ones(2, requires_grad=True)
    y = x * v[:, None, None]
    z = x.sum((1, 2)) * v
    (y.square().sum() + z.square().sum()).backward()
    for result in run_world(WORLD, ends):
        for got, want in zip(result, (y, z, x.grad, v.grad), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-13)
