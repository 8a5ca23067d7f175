"""Micro-batches, tensors that wait on the host, and the plan of a step."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

import opdsl
from opdsl.diagnostics import OpError, Source
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.packed import Packed
from opdsl.train.config.schema import Settings
from opdsl.train.engine.fit import fit, objective_of, train_step_of
from opdsl.train.engine.forward import host_tensors
from opdsl.train.engine.forward.host_tensors import host_saved_tensors
from opdsl.train.engine.limits.memory import MemoryPlan, planned_memory
from opdsl.train.engine.limits.micro_batches import micro_batches
from opdsl.train.engine.loader import Batch
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.optimizers.algorithms.host_state import keep_state_on_host
from opdsl.train.optimizers.algorithms.muon_with_adamw import MuonWithAdamW
from opdsl.train.scaling.normalise import Normaliser
from tests.unit.train.toy_problem import Cloud, Toy, cloud

GRIDS = {"u": GridAxes((True,), (1.0,))}


def batch(size, seed=0):
    random = torch.Generator().manual_seed(seed)
    a = torch.randn(size, 2, 8, generator=random, dtype=torch.float64)
    return Batch({"a": a}, {"u": a[:, :1].sin() + 1})


def step_of(**more):
    settings = Settings(precision="fp64", device="cpu", **more)
    samples = Cloud(batch(8).inputs, batch(8).truth)
    normaliser = Normaliser.fit(samples, settings.normalise)
    torch.manual_seed(3)
    module = Toy(dropout=0.0)
    objective = objective_of(settings, GRIDS, banded=False)
    step = train_step_of(module, normaliser, settings, GRIDS, None, None, objective)
    step.begin()
    return step


# ------------------------------------------------------------------------------- micro-batches


@pytest.mark.parametrize(("size", "parts"), [(8, 2), (7, 3), (5, 5), (3, 8), (1, 4)])
def test_micro_batches_have_all_samples_once_in_order(size, parts):
    whole = batch(size)
    found = list(micro_batches(whole, parts))
    assert len(found) == min(size, parts)
    sizes = [len(x.inputs["a"]) for x in found]
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat([x.inputs["a"] for x in found]), whole.inputs["a"])
    assert torch.equal(torch.cat([x.truth["u"] for x in found]), whole.truth["u"])


def test_processes_that_share_a_batch_have_equally_many_micro_batches():
    found = list(micro_batches(batch(2), 4, always=True))
    assert [x.counts for x in found] == [True, True, False, False]
    assert [len(x.inputs["a"]) for x in found] == [1, 1, 1, 1]
    whole, divided = step_of(), step_of()
    for step, batches in ((whole, [batch(2)]), (divided, found)):
        step.learn(batches, 1e-2)
    pairs = zip(whole.module.parameters(), divided.module.parameters(), strict=True)
    assert all(torch.allclose(p, q, rtol=1e-10, atol=1e-12) for p, q in pairs)


def test_micro_batches_of_points_keep_samples_places_and_shared_weights_together():
    parts = [torch.full((1, n), float(n)) for n in (3, 5, 2, 4)]
    places = tuple(Geometry(torch.full((n, 2), float(n))) for n in (3, 5, 2, 4))
    whole = Batch(
        {"a": Packed.of(parts)},
        {"u": Packed.of(parts)},
        {"P": places},
        {"u": torch.ones(1, 1, 4), "v": Packed.of(parts)},
    )
    found = list(micro_batches(whole, 2))
    assert [x.inputs["a"].sizes for x in found] == [(3, 5), (2, 4)]
    assert [[len(y.points) for y in x.places["P"]] for x in found] == [[3, 5], [2, 4]]
    assert all(len(x.weights["u"]) == 1 for x in found)
    assert found[1].weights["v"].sizes == (2, 4)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_steps_of_micro_batches_equal_those_of_the_batch(parts):
    whole, divided = step_of(), step_of()
    divided.parts = parts
    for i in range(4):
        a, b = whole.learn(batch(7, i), 1e-2), divided.learn(batch(7, i), 1e-2)
        assert b.loss == pytest.approx(a.loss, rel=1e-12)
        assert b.norm == pytest.approx(a.norm, rel=1e-10)
        assert a.counted == b.counted == 7
    pairs = zip(whole.module.parameters(), divided.module.parameters(), strict=True)
    assert all(torch.allclose(p, q, rtol=1e-10, atol=1e-12) for p, q in pairs)


# --------------------------------------------------------------------------------- on the host


@pytest.mark.parametrize("kind", ["adamw", "sgd", "muon"])
def test_an_optimizer_whose_state_is_on_the_host_takes_equal_steps(kind):
    weights = []
    for on_host in (False, True):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
        groups = [
            {"params": list(module[0].parameters()), "weight_decay": 0.1},
            {"params": list(module[1].parameters())},
        ]
        if kind == "adamw":
            optimizer = AdamW(groups, lr=1e-2)
        elif kind == "sgd":
            optimizer = SGD(groups, lr=1e-2, momentum=0.9)
        else:
            optimizer = MuonWithAdamW(
                groups,
                lr=1e-2,
                weight_decay=0.0,
                momentum=0.9,
                betas=(0.9, 0.999),
                adjust="original",
            )
        if on_host:
            keep_state_on_host(optimizer)
        for _ in range(5):
            optimizer.zero_grad()
            module(torch.ones(3, 4)).square().sum().backward()
            optimizer.step()
        if kind != "muon":
            assert len(optimizer.state) == 4
            assert len(optimizer.param_groups) == 2
        weights.append([p.detach().clone() for p in module.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_saved_tensors_that_wait_elsewhere_give_equal_gradients(monkeypatch):
    # tensors of the CPU do not move, so this test pretends that they are elsewhere
    module, x = Toy(dropout=0.0), torch.randn(3, 2, 50)
    module(x).square().sum().backward()
    expected = [p.grad.clone() for p in module.parameters()]
    moved = []
    monkeypatch.setattr(host_tensors, "leaves_device", lambda x: moved.append(x.shape) or True)
    module.zero_grad()
    with host_saved_tensors(least=100):
        y = module(x)
    y.square().sum().backward()
    assert torch.Size([3, 50, 8]) in moved
    assert all(torch.equal(p.grad, g) for p, g in zip(module.parameters(), expected, strict=True))


def test_tensors_of_the_cpu_and_weights_stay_where_they_are(monkeypatch):
    module, x = Toy(dropout=0.0), torch.randn(3, 2, 50)
    addresses = []

    def read(hooks):
        with hooks:
            graph = module(x).grad_fn
        addresses.append(graph is not None)

    read(host_saved_tensors(least=1))
    weight = module.first.weight
    monkeypatch.setattr(host_tensors, "leaves_device", lambda _: True)
    hooks = host_saved_tensors(least=1)
    assert hooks.pack_hook(weight) is weight
    view = weight.T
    assert hooks.pack_hook(view) is view
    values = torch.randn(10) * weight.sum()
    packed = hooks.pack_hook(values)
    assert packed is not values
    assert torch.equal(hooks.unpack_hook(packed), values)


# ------------------------------------------------------------------------------------ the plan


def test_a_plan_is_applied_and_leaves_random_numbers_and_buffers():
    step = step_of(batch=4, memory="1 GB")
    step.module.register_buffer("count", torch.zeros(()))
    samples = Cloud(batch(8).inputs, batch(8).truth)
    seen = []

    def plan(needs):
        step.module.count += 1
        torch.rand(3)
        loss, _ = needs.trial(2)
        seen.append((needs, float(loss.detach())))
        return MemoryPlan(parts=2, host_activations=True, texts=("chosen",))

    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    settings = Settings(precision="fp64", device="cpu", batch=4, memory="1 GB")
    with planned_memory(plan, step, samples, settings, None) as texts:
        assert texts == ("chosen",)
        assert step.parts == 2
        assert step.forward.host_activations
    assert torch.equal(torch.rand(1), expected)
    assert float(step.module.count) == 0
    (needs, loss), weights = seen[0], sum(p.nbytes for p in step.module.parameters())
    assert loss > 0
    assert needs.weights == needs.gradients == weights
    assert needs.optimizer == 2 * weights
    assert needs.largest == 8 * 2 * 8
    assert needs.batch == 4 * 3 * 8 * 8  # samples, channels of input and truth, points, bytes
    assert needs.samples == 4
    assert not needs.host


def test_losses_with_derivatives_at_points_are_refused():
    class Derivatives(type(step_of().objective)):
        def prepare(self, some):
            points = torch.rand(4, 1).requires_grad_()
            return Batch(some.inputs, some.truth, {"P": (Geometry(points),)})

    step = step_of()
    step.objective = Derivatives(step.objective.loss)
    samples = Cloud(batch(8).inputs, batch(8).truth)
    with (
        pytest.raises(OpError) as caught,
        planned_memory(lambda _: MemoryPlan(), step, samples, Settings(device="cpu"), None),
    ):
        pass
    assert [x.code for x in caught.value.diagnostics] == ["OP0851"]


def test_modules_of_no_program_are_refused():
    from opdsl.workflow.training.memory_plan import memory_planner

    assert memory_planner(Toy(), Settings()) is None
    with pytest.raises(OpError) as caught:
        memory_planner(Toy(), Settings(memory="1 GB"))
    assert [x.code for x in caught.value.diagnostics] == ["OP0851"]


def test_without_a_limit_nothing_is_planned():
    step = step_of()
    with planned_memory(None, step, cloud(), Settings(), None) as texts:
        assert texts == ()
    assert step.parts == 1


PROGRAM = """edition 2026

from std.fourier import FourierLayer

model Waves {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)
  input a : D -> R^2
  output u : D -> R^1
  u = a |> linear(out = 16) |> repeat 3 { FourierLayer(modes = 3) |> gelu() } |> linear(out = 1)
}
"""


def trained(folder, limit, precision="fp64"):
    from opdsl.workflow.training.memory_plan import memory_planner

    a = torch.randn(8, 2, 20, 20, generator=torch.Generator().manual_seed(1))
    data = Cloud({"a": a}, {"u": a[:, :1] * 2}, resolution=(20, 20))
    torch.manual_seed(0)
    module = opdsl.compile(PROGRAM)
    settings = Settings(
        memory=limit, batch=4, precision=precision, device="cpu", schedule={"epochs": 2}
    )
    planner = memory_planner(module, settings)
    fit(module, data, None, settings, folder, meta={}, plan_memory=planner)
    assert module.recomputed is None
    return module


def test_runs_within_a_limit_learn_the_same_weights(tmp_path):
    with pytest.raises(OpError) as caught:
        trained(tmp_path / "tiny", "1 kB")
    assert [x.code for x in caught.value.diagnostics] == ["OP0850"]
    kept, (_, recomputed, divided) = trained(tmp_path / "kept", None), peaks()
    assert divided < recomputed
    for limit in (recomputed, divided):
        limited = trained(tmp_path / str(limit), f"{limit} B")
        pairs = zip(kept.parameters(), limited.parameters(), strict=True)
        assert all(torch.allclose(p, q, rtol=1e-9, atol=1e-12) for p, q in pairs)


def peaks():
    """The least memory with everything kept, with recomputation, and with micro-batches."""
    from opdsl.workflow.memory import plan_memory
    from opdsl.workflow.programs.program import open_program

    program = open_program(Source("waves.op", PROGRAM), Path(), sets=["precision=fp64"])
    report = plan_memory(program, {"D": (20, 20)}, "1 B", 4, "cpu")
    return [x.choice.peak for x in report.planned.attempts]
