"""Groups of processes: who is in them, and one that is gone."""

import time

import pytest
import torch
import torch.distributed as dist

from opdsl.parallel.groups import form_group
from opdsl.parallel.processes import EXCHANGE, is_lost_connection
from tests.worlds import run_world


def sums() -> list[float]:
    found = []
    for group in (form_group(), form_group([[0, 2], [1]])):
        x = torch.tensor(10.0 ** dist.get_rank())
        dist.all_reduce(x, group=group)
        found.append(float(x))
    return found


def test_each_process_is_in_its_group():
    assert run_world(3, sums) == [[111.0, 101.0], [111.0, 10.0], [111.0, 101.0]]


def limit() -> float:
    backend = form_group(backend="gloo", wait=20.0)._get_backend(torch.device("cpu"))
    return backend.options._timeout.total_seconds()


def test_an_exchange_may_take_longer_than_the_forming():
    assert run_world(2, limit) == [EXCHANGE.total_seconds()] * 2


def stay_alone() -> tuple[float, bool]:
    if dist.get_rank() == 1:
        return 0.0, True  # ends without coming
    started = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        form_group(wait=2.0)
    return time.monotonic() - started, is_lost_connection(caught.value)


def test_a_process_that_is_gone_is_given_up():
    (waited, is_lost), _ = run_world(2, stay_alone)
    assert is_lost
    assert 2.0 <= waited < EXCHANGE.total_seconds() / 10
