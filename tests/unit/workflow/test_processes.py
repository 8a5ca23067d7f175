"""What a run in several processes refuses, before the first step."""

import re

import numpy as np
import pytest
import torch.distributed as dist

import opdsl
from opdsl.compiler import load
from opdsl.diagnostics import OpError
from opdsl.parallel import processes
from opdsl.train.config.parallel_and_memory import Parallel
from opdsl.train.config.schema import Band, Optimizer, Settings
from opdsl.workflow.training import process_counts
from opdsl.workflow.training.processes import mesh_of, refuse_disagreement
from tests.e2e.command_line import TINY
from tests.worlds import run_world

FSDP = Parallel(strategy="fsdp")
# settings, the code, and a part of the message; in two processes
REFUSED = [
    (Settings(parallel=Parallel(space=3)), "OP0800", "2 processes cannot be divided into"),
    (Settings(batch=1), "OP0801", "2 processes share a batch of 1"),
    (Settings(parallel=FSDP, optimizer=Optimizer(kind="lbfgs")), "OP0806", "optimizer lbfgs"),
    (Settings(parallel=FSDP, optimizer=Optimizer(kind="muon")), "OP0806", "optimizer muon"),
    (Settings(parallel=FSDP, memory="8 GB"), "OP0806", "leave `memory` out"),
    (Settings(parallel=FSDP, band=Band(of="u")), "OP0806", "`band`"),
]


def refusals():
    graph, rank = load(TINY), dist.get_rank()
    results = []
    for settings, _, _ in REFUSED:
        with pytest.raises(OpError) as caught:
            mesh_of(graph, settings)
        results.append(caught.value)
    with pytest.raises(OpError) as caught:
        mesh_of(load(TINY, width=4 + rank), Settings())
    results.append(caught.value)
    with pytest.raises(OpError) as caught:
        mesh_of(graph, Settings(seed=rank))
    results.append(caught.value)
    with pytest.raises(OpError) as caught:
        refuse_disagreement({"the training data": f"f{rank}", "the validation data": "v"})
    results.append(caught.value)
    shapes = []
    for space, batch in ((1, 4), (2, 4), ("auto", 4), ("auto", 1), ({"x": 2}, 1)):
        mesh = mesh_of(graph, Settings(batch=batch, parallel=Parallel(space=space)))
        shapes.append((mesh.data, mesh.space))
    return [(x.diagnostics[0].code, str(x)) for x in results], shapes


def test_all_processes_refuse_alike():
    first, second = run_world(2, refusals)
    assert first == second
    errors, shapes = first
    expected = [(code, text) for _, code, text in REFUSED]
    expected += [("OP0802", f"disagree on the {x}") for x in ("program", "settings")]
    expected += [("OP0802", "the training data: f0 in process 0, f1 in process 1")]
    for (code, text), (wanted, part) in zip(errors, expected, strict=True):
        assert code == wanted
        assert part in text
    assert shapes == [(2, 1), (1, 2), (2, 1), (1, 2), (1, 2)]


def test_more_processes_than_the_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr(process_counts, "free_memory", lambda: 3 * process_counts.PROCESS + 1)
    process_counts.refuse_many(3)
    with pytest.raises(OpError) as caught:
        process_counts.refuse_many(4)
    assert caught.value.diagnostics[0].code == "OP0807"
    assert "start at most 3 processes" in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"RANK": "5", "WORLD_SIZE": "2"}, "RANK is 5 and WORLD_SIZE is 2"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK of the environment is `x`"),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "70123"},
            "MASTER_PORT of the environment is `70123`",
        ),
    ],
)
def test_an_environment_that_says_no_place_is_refused_at_once(monkeypatch, variables, text):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "_current", [])
    with pytest.raises(OpError, match=re.escape(text)) as caught:
        processes.join(60.0)
    assert caught.value.diagnostics[0].code == "OP0804"


def losing(folder):
    """Train with a loss that raises an exception in the second process."""
    rank = dist.get_rank()

    def loss(prediction, truth):
        if rank:
            raise ZeroDivisionError
        return ((prediction - truth) ** 2).mean()

    a = np.ones((4, 1, 9, 9), "float32")
    options = {"epochs": 1, "batch": 4, "device": "cpu", "valid": "none", "loss": loss}
    try:
        opdsl.train(TINY, data={"a": a, "u": a}, out=folder, **options)
    except ZeroDivisionError:
        return "its own"
    except OpError as error:
        return error.diagnostics[0].code


def test_a_python_program_learns_that_another_process_is_gone(tmp_path):
    assert run_world(2, losing, str(tmp_path / "run")) == ["OP0805", "its own"]


def through_python(folder):
    random = np.random.default_rng(0)
    a = random.normal(size=(12, 1, 9, 9)).astype("float32")
    options = {"epochs": 2, "batch": 5, "precision": "fp64", "device": "cpu"}
    run = opdsl.train(TINY, data={"a": a, "u": 2 * a}, out=folder, **options)
    return run.metrics.history[-1]["train_loss"], float(np.abs(run.predict(a)).sum())


@pytest.mark.slow
def test_a_python_program_trains_in_several_processes(tmp_path):
    alone = through_python(str(tmp_path / "one"))
    first, second = run_world(2, through_python, str(tmp_path / "two"))
    assert first == second
    assert first == pytest.approx(alone, rel=1e-6)
