"""Values and outcomes on which the processes of a run agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from opdsl.diagnostics import OpError
from opdsl.parallel.mesh import ProcessMesh

T = TypeVar("T")
Errors = type[Exception] | tuple[type[Exception], ...]
Outcome = tuple[T | None, Exception | None]


def gathered_by_rank(value: T) -> list[T]:
    """Return the plain values of all processes of torch's default group."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def gathered(mesh: ProcessMesh, value: T) -> list[T]:
    """Return the plain values of all processes in the order of their ranks."""
    return [value] if mesh.world == 1 else gathered_by_rank(value)


def gathered_over_data(mesh: ProcessMesh, value: T) -> list[T]:
    """Return the plain values of the processes that have other samples, by `data_index`."""
    if mesh.data == 1:
        return [value]
    values: list[Any] = [None] * mesh.data
    dist.all_gather_object(values, value, group=mesh.data_group)
    return values


def of_first(mesh: ProcessMesh, value: T) -> T:
    """Return the plain value of the first process."""
    if mesh.world == 1:
        return value
    values: list[Any] = [value if mesh.rank == 0 else None]
    dist.broadcast_object_list(values, src=0)
    return cast("T", values[0])


def first_does(mesh: ProcessMesh, function: Callable[[], T], errors: Errors = OpError) -> T:
    """Call a function in the first process, and return its plain result in all.

    Args:
        mesh: of the processes.
        function: to call.
        errors: what it may raise; all processes raise it then.
    """
    if mesh.world == 1:
        return function()
    outcome = _outcome(function, errors) if mesh.rank == 0 else None
    return _result(of_first(mesh, outcome))


def all_do(mesh: ProcessMesh, function: Callable[[], T], errors: Errors = OpError) -> T:
    """Call a function in all processes, and return the own result.

    Args:
        mesh: of the processes.
        function: to call.
        errors: what it may raise; all processes raise that of the first rank that has one.
    """
    if mesh.world == 1:
        return function()
    result, own = _outcome(function, errors)
    failures = [x for x in gathered(mesh, own) if x is not None]
    return _result((result, failures[0] if failures else None))


def largest(mesh: ProcessMesh, value: int) -> int:
    """Return the largest of the numbers of all processes."""
    if mesh.world == 1:
        return value
    number = torch.tensor([value])
    dist.all_reduce(number, dist.ReduceOp.MAX)
    return int(number)


def sums_over_data(mesh: ProcessMesh, values: Sequence[float]) -> list[float]:
    """Return the sums of numbers over the processes that have other samples, in float64."""
    if mesh.data == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums, group=mesh.data_group)
    return cast("list[float]", sums.tolist())


def cut_of_all(mesh: ProcessMesh, size: int) -> tuple[int, int]:
    """Return the size of the parts of all processes together, and where the own part begins.

    Args:
        mesh: of the processes.
        size: of the part of this process.
    """
    sizes = gathered_over_data(mesh, size)
    return sum(sizes), sum(sizes[: mesh.data_index])


def copy_from_first(mesh: ProcessMesh, tensors: Sequence[Tensor]) -> None:
    """Overwrite tensors with those of the first process."""
    if mesh.world == 1:
        return
    for x in map(Tensor.detach, tensors):
        dist.broadcast(torch.view_as_real(x) if x.is_complex() else x, src=0)


def _outcome(function: Callable[[], T], errors: Errors) -> Outcome[T]:
    """Return the result of a function and None, or None and what it raised."""
    try:
        return function(), None
    except errors as error:
        return None, error


def _result(outcome: Outcome[T] | None) -> T:
    assert outcome is not None  # the first process has one
    result, error = outcome
    if error is not None:
        raise error
    return cast("T", result)
