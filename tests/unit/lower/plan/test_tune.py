import itertools

import pytest
import torch

from opdsl.lower.module import lower
from opdsl.lower.plan.planner import plan_kernels
from opdsl.lower.plan.timings import Timings
from opdsl.lower.plan.tune import ROUNDS, Tuner, calls, race
from opdsl.lower.plan.tuning_case import FUSED, PLAIN
from opdsl.nn.kernels import fourier_layer
from tests.programs import graph

TEXT = """edition 2026

from std.fourier import FNOBlock

model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 12)
  input a : D -> R^4
  output u : D -> R^4
  u = a |> repeat 2 { FNOBlock(modes = 3) }
}
"""
HALF_WAVES = """edition 2026

from std.spectral import SpectralBlock

model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = (dirichlet, neumann), min = 8)
  input a : D -> R^4
  output u : D -> R^4
  u = a |> repeat 2 { SpectralBlock(modes = 3) }
}
"""
# with exponentials on one axis: not fused
MIXED = HALF_WAVES.replace("(dirichlet, neumann)", "(periodic, dirichlet)")
PROGRAMS = pytest.mark.parametrize(
    "text", [TEXT, HALF_WAVES, MIXED], ids=["waves", "half", "mixed"]
)
AT = {"D": (16, 12)}
needs_kernels = pytest.mark.skipif(
    not fourier_layer.kernels_available(), reason="no C++ compiler here"
)


class Clock:
    """Time that passes only in calls."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def call(self, seconds, log, name):
        def run():
            log.append(name)
            self.now += seconds

        return run


def told(times):
    """A timer that knows all kernels, and the fusions, by these times."""
    return lambda case: {x: times[x] for x in case.ways} if set(case.ways) <= set(times) else None


def cases(made):
    found = []
    plan_kernels(made, AT, 2, timer=found.append)
    return found


# ---------------------------------------------------------------------------------- the race


def test_each_is_timed_by_its_least_call():
    clock, log = Clock(), []
    found = race({"a": clock.call(2.0, log, "a"), "b": clock.call(3.0, log, "b")}, clock)
    assert found == {"a": 2000.0, "b": 3000.0}


def test_calls_are_taken_in_turn():
    clock, log = Clock(), []
    race({x: clock.call(0.1, log, x) for x in "ab"}, clock)
    assert log == ["a", "b"] * (ROUNDS + 1)


def test_what_is_twice_as_slow_leaves_and_a_race_of_one_ends():
    clock, log = Clock(), []
    race({"a": clock.call(0.1, log, "a"), "b": clock.call(0.2, log, "b")}, clock)
    assert log == ["a", "b"] * 2


def test_long_calls_are_not_repeated():
    clock, log = Clock(), []
    race({x: clock.call(10.0, log, x) for x in "ab"}, clock)
    assert log == ["a", "b"] * 2


# ---------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize("fastest", ["fft", "dft"])
def test_the_plan_takes_the_kernel_that_was_measured_to_be_the_fastest(fastest):
    times = {"fft": 3.0, "dft": 3.0} | {fastest: 1.25}
    found = plan_kernels(graph(TEXT), AT, timer=told(times))
    other = {"fft": "dft", "dft": "fft"}[fastest]
    for choice in found.choices.values():
        assert choice.kernel == fastest
        reason = f"{fastest}: 1.25 ms against 3 ms for {other}, measured with the gradient"
        assert choice.reason == reason
        assert choice.measured == times


@pytest.mark.parametrize(("one", "many", "kept"), [(1.0, 3.0, True), (3.0, 1.0, False)])
def test_nodes_run_as_one_where_that_was_measured_to_be_faster(one, many, kept):
    found = plan_kernels(graph(TEXT), AT, timer=told({FUSED: one, PLAIN: many})).fused
    assert bool(found) == kept
    assert all("1 ms against 3 ms plainly, measured" in x for x in found.values())


def test_what_was_not_measured_is_predicted():
    made = graph(TEXT)
    assert plan_kernels(made, AT, 2, timer=lambda _: None) == plan_kernels(made, AT, 2)


# ---------------------------------------------------------------------------------- the calls


@PROGRAMS
def test_all_ways_of_a_case_compute_the_same_function_with_the_same_weights(monkeypatch, text):
    ends = []
    monkeypatch.setattr(torch.autograd, "grad", lambda y, *_, **__: ends.append(y.detach()))
    for case in cases(graph(text)):
        if case.fusion is None or fourier_layer.kernels_available():
            ends.clear()
            for call in calls(case).values():
                call()
            first, second = ends
            assert (first - second).norm() <= 1e-5 * first.norm()


@PROGRAMS
def test_a_module_that_measures_computes_as_one_that_predicts(tmp_path, text):
    torch.manual_seed(0)
    made = lower(graph(text))
    x = torch.randn(2, 4, 16, 12)
    before = made(x)
    made.autotune(Timings(tmp_path))
    after = made(x)
    assert (after - before).norm() <= 1e-5 * before.norm()
    assert all(x.measured for x in made.latest.choices.values())


def test_measuring_leaves_random_numbers_and_gradients_alone(tmp_path):
    made = lower(graph(TEXT))
    made.autotune(Timings(tmp_path))
    x = torch.randn(2, 4, 16, 12)
    state = torch.get_rng_state()
    with torch.no_grad():
        made(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in made.parameters())


def test_equal_layers_are_measured_once_and_the_next_module_does_not_measure(tmp_path):
    made, x = lower(graph(TEXT)), torch.randn(2, 4, 16, 12)
    made.autotune(Timings(tmp_path))
    made(x)
    # kernels of a layer; two fusions, for what is before the second layer is bent
    assert len(list(tmp_path.iterdir())) <= 3
    again = lower(graph(TEXT))
    again.timer = Tuner(Timings(tmp_path), clock=itertools.repeat(None).__next__)  # cannot be used
    again(x)
    assert again.latest == made.latest


def test_a_call_within_vmap_is_not_measured(tmp_path):
    made = lower(graph(TEXT))
    made.autotune(Timings(tmp_path))
    torch.vmap(made)(torch.randn(2, 1, 4, 16, 12))
    assert not list(tmp_path.iterdir())
