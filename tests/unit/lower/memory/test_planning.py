"""Planned training steps against the bytes of torch's allocator, and equal gradients."""

import gc
import json
from functools import partial

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import opdsl
from opdsl.lower.memory.choice import StateBytes
from opdsl.lower.memory.planning import _Profiles, plan_step
from opdsl.lower.memory.segments import cheapest
from opdsl.lower.memory.timeline import peak
from opdsl.lower.plan.measure import random_inputs
from opdsl.lower.recompute import SegmentPlan

HEAD = """edition 2026

from std.fourier import FNOBlock, FourierLayer
from std.pointwise import Lift, Project
from std.transformer import PhysicsLayer

model M {
"""
FNO = """  domain D = grid(AXES, boundary = periodic, min = 13)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> Lift(out = 16) |> repeat 4 { FNOBlock(modes = 6WEIGHT) } |> Project(out = 1)
}
"""
FNO_2D = FNO.replace("AXES", "x: 0..1, y: 0..1").replace("WEIGHT", "")
FNO_3D = FNO.replace("AXES", "x: 0..1, y: 0..1, z: 0..1").replace("WEIGHT", "")
TFNO = FNO.replace("AXES", "x: 0..1, y: 0..1").replace("WEIGHT", ", factor = tucker, rank = 0.3")
UNO = """  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 36)
  input a : D -> R^1
  output u : D -> R^1
  e0 = a |> Lift(out = 12)
  e1 = spectral_conv(e0, modes = 6, out = 24, to = D / 2) |> apply(gelu) |> FourierLayer(modes = 6)
  d0 = spectral_conv(e1, modes = 6, out = 12, to = D) |> apply(gelu)
  u = concat(d0, e0) |> FourierLayer(out = 12, modes = 6) |> Project(out = 1)
}
"""
TRANSOLVER = """  domain D = grid(x: 0..1, y: 0..1)
  input a : D -> R^1
  output u : D -> R^1
  u = concat(a, coords(D)) |> Lift(out = 24) |> repeat 2 { PhysicsLayer(slices = 8, heads = 2) }
    |> norm(kind = layer) |> Project(out = 1)
}
"""
CASES = {
    "fno_2d": (FNO_2D, (32, 32), 4),
    "fno_3d": (FNO_3D, (13, 13, 13), 4),
    "tfno": (TFNO, (32, 32), 4),
    "uno": (UNO, (36, 36), 4),
    "transolver": (TRANSOLVER, (24, 24), 4),
}


class Step:
    """The loss and the gradient of a model on random numbers."""

    def __init__(self, name, dtype=torch.float32):
        text, points, self.samples = CASES[name]
        torch.manual_seed(0)
        self.module = opdsl.compile(HEAD + text).train().to(dtype)
        self.points = {"D": points}

    def trial(self, samples):
        inputs = random_inputs(self.module, self.points, samples)
        y = self.module(*inputs)
        truth = torch.ones_like(y)
        loss = (y - truth).square().flatten(1).sum(1).sqrt().mean()
        return loss, (y, truth, inputs)

    def gradients(self, samples=None):
        self.module.zero_grad(set_to_none=True)
        loss, held = self.trial(samples or self.samples)
        loss.backward()
        del held
        return {k: p.grad.clone() for k, p in self.module.named_parameters()}


def state(module):
    """What a step needs besides its passes, counted as zero."""
    largest = 0
    gradients = sum(p.nbytes for p in module.parameters())
    return StateBytes(0, gradients, 0, largest, 0)


def allocated(call, folder):
    """Bytes of torch's allocator at their highest during a call, above those before."""
    call()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        first = torch.empty(1)
        call()
    del first
    path = folder / "trace.json"
    seen.export_chrome_trace(str(path))
    events = [x for x in json.loads(path.read_text())["traceEvents"] if x.get("name") == "[memory]"]
    events.sort(key=lambda x: x["ts"])
    totals = [x["args"]["Total Allocated"] for x in events]
    return max(totals) - (totals[0] - events[0]["args"]["Bytes"])


def passes(step):
    """A forward and a backward pass."""
    step.module.zero_grad(set_to_none=True)
    loss, held = step.trial(step.samples)
    loss.backward()
    del held, loss
    step.module.zero_grad(set_to_none=True)


def predicted(step):
    """Return a function from segments to the peak of the passes, and the least segments."""
    found = _Profiles(step.module, step.trial)(step.samples)

    def total(segments):
        return peak(found.units, found.ends, segments, found.outputs)

    return total, cheapest(found.units, total, 1)[1].segments


@pytest.mark.parametrize("name", CASES)
def test_the_predicted_peak_is_that_of_the_allocator(name, tmp_path):
    step = Step(name)
    total, segments = predicted(step)
    assert total(()) == pytest.approx(allocated(partial(passes, step), tmp_path), rel=0.1)
    step.module.recompute(SegmentPlan(segments))
    assert total(segments) == pytest.approx(allocated(partial(passes, step), tmp_path), rel=0.1)
    assert total(segments) <= total(())


@pytest.mark.parametrize("name", ["fno_2d", "tfno", "uno", "transolver"])
def test_a_recomputed_step_has_equal_gradients(name):
    step = Step(name, torch.float64)
    kept = step.gradients()
    count = len(tuple(step.module.units))
    step.module.recompute(SegmentPlan(((1, count // 2), (count // 2, count - 1))))
    again = step.gradients()
    assert all(torch.equal(again[k], g) for k, g in kept.items())


def test_a_profile_leaves_weights_gradients_and_the_module_as_they_were():
    step = Step("fno_2d")
    before = {k: x.clone() for k, x in step.module.state_dict().items()}
    plan_step(step.module, step.trial, state(step.module), step.samples, 1)
    assert all(torch.equal(x, before[k]) for k, x in step.module.state_dict().items())
    assert all(p.grad is None for p in step.module.parameters())
    assert step.module.recomputed is None
    assert step.module.planned_batch is None


def test_micro_batches_come_after_recomputation():
    step = Step("fno_2d")
    tried = plan_step(step.module, step.trial, state(step.module), step.samples, 1).attempts
    assert [(x.choice.parts > 1, bool(x.choice.segments)) for x in tried[:2]] == [
        (False, False),
        (False, True),
    ]
    assert tried[2].choice.parts > 1
    assert not any(x.fits for x in tried)
    limit = (tried[1].choice.peak + tried[2].choice.peak) // 2
    planned = plan_step(step.module, step.trial, state(step.module), step.samples, limit)
    assert planned.chosen.choice.parts > 1
    assert planned.chosen.choice.peak <= limit


def test_a_host_takes_state_and_activations_before_micro_batches():
    step = Step("fno_2d")
    weights = sum(p.nbytes for p in step.module.parameters())
    sizes = StateBytes(weights, weights, 2 * weights, 0, 0)
    tried = plan_step(step.module, step.trial, sizes, step.samples, 1, host=True).attempts
    marks = [(x.choice.host_state, x.choice.host_activations, x.choice.parts > 1) for x in tried]
    assert marks[:4] == [
        (False, False, False),
        (False, False, False),
        (True, False, False),
        (True, True, False),
    ]
    assert tried[2].choice.peak == tried[1].choice.peak - 2 * weights
    assert tried[3].choice.peak < tried[2].choice.peak
