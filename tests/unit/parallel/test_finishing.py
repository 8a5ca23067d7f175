"""The first of several processes finishes a run while the others wait."""

import time

import pytest
import torch.distributed as dist

from opdsl.parallel import finishing
from opdsl.parallel.finishing import first_finishes
from opdsl.parallel.processes import Processes, is_lost_connection
from tests.worlds import run_world


def joined(monkeypatch) -> Processes:
    """This process among those of a test, whose waiting is short."""
    monkeypatch.setattr(finishing, "BEAT", 0.1)
    monkeypatch.setattr(finishing, "SILENCE", 1.0)
    found = Processes()
    found.store = dist.PrefixStore("test", dist.distributed_c10d._get_default_store())
    return found


def slow() -> str:
    time.sleep(3.0)  # three times what silence may take
    return "report"


def finish_slowly():
    with pytest.MonkeyPatch.context() as monkeypatch:
        return first_finishes(joined(monkeypatch), slow)


def test_the_others_wait_for_as_long_as_the_first_takes():
    assert run_world(3, finish_slowly) == ["report", None, None]


def wait_for_one_that_is_gone():
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = joined(monkeypatch)
        if found.rank == 0:
            return "gone"  # ends before it gives a sign of life
        with pytest.raises(ConnectionError) as caught:
            first_finishes(found, slow)
        return str(caught.value), is_lost_connection(caught.value)


def test_a_first_process_that_is_gone_is_given_up():
    assert run_world(2, wait_for_one_that_is_gone)[1] == (
        "the first process gives no sign of life",
        True,
    )


def fail():
    raise ArithmeticError


def wait_for_one_that_fails():
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = joined(monkeypatch)
        with pytest.raises((ArithmeticError, ConnectionError)) as caught:
            first_finishes(found, fail)
        return type(caught.value).__name__, str(caught.value)


def test_the_others_hear_that_the_first_one_failed():
    assert run_world(2, wait_for_one_that_fails) == [
        ("ArithmeticError", ""),
        ("ConnectionError", "the first process failed"),
    ]
