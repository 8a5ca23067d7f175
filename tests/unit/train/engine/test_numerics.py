"""Losses, normalisation, rates and order against closed forms and torch's own schedules."""

import math

import pytest
import torch

from opdsl.diagnostics import OpError
from opdsl.train.config.schema import Normalise, Optimizer, Schedule
from opdsl.train.engine.device import device_of
from opdsl.train.engine.order import permutation
from opdsl.train.engine.precision import policy_of
from opdsl.train.engine.randomness import random_state, restore_random_state, seed_everything
from opdsl.train.engine.rates import Rate
from opdsl.train.losses.h1 import derivative, rel_h1
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.optimizers import OPTIMIZERS
from opdsl.train.scaling.normalise import Normaliser
from tests.unit.train.toy_problem import Cloud, cloud

CPU = torch.device("cpu")


def sine(n, k=1, *, periodic=True):
    x = torch.arange(n, dtype=torch.float64) / (n if periodic else n - 1)
    return torch.sin(2 * math.pi * k * x), 2 * math.pi * k * torch.cos(2 * math.pi * k * x)


def test_the_relative_error_of_a_scaled_field_is_the_scale():
    true = torch.randn(3, 2, 5, 7, dtype=torch.float64, generator=torch.manual_seed(0))
    factor = torch.tensor([1.5, 0.5, 3.0], dtype=torch.float64)
    found = rel_l2(true * factor.reshape(3, 1, 1, 1), true)
    torch.testing.assert_close(found, (factor - 1).abs())


def test_low_precision_predictions_are_compared_in_float32():
    true = torch.full((1, 1, 70000), 4.0).half()  # the sum of squares is beyond float16
    found = rel_l2(true * 1.5, true)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(0.5, rel=1e-6)


def test_orthogonal_modes_give_the_h1_error_of_their_frequencies():
    low, high = sine(64, 1)[0], sine(64, 2)[0]
    pred, true = (low + high).reshape(1, 1, -1), low.reshape(1, 1, -1)
    # the central difference of mode k has the symbol n sin(2 pi k / n)
    d1, d2 = 64 * math.sin(2 * math.pi / 64), 64 * math.sin(4 * math.pi / 64)
    expected = math.sqrt((1 + d2**2) / (1 + d1**2))
    found = rel_h1(pred, true, GridAxes.unit((True,)))
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("periodic", [True, False])
def test_differences_converge_with_second_order_up_to_the_ends(periodic):
    errors = []
    for n in (50, 100):
        u, exact = sine(n, periodic=periodic)
        found = derivative(u.reshape(1, 1, -1), 2, periodic=periodic)[0, 0]
        errors.append(float((found - exact).abs().max()))
    assert 3.7 < errors[0] / errors[1] < 4.3


def test_differences_of_a_parabola_are_exact_on_an_axis_with_ends():
    x = torch.linspace(0, 3, 7, dtype=torch.float64)
    found = derivative((x**2).reshape(1, 1, 1, 7), 3, periodic=False, length=3.0)
    torch.testing.assert_close(found[0, 0, 0], 2 * x)


def test_an_axis_with_ends_never_sees_the_other_end():
    u = torch.arange(5, dtype=torch.float64).reshape(1, 1, 5)
    found = derivative(u, 2, periodic=False, length=4.0)
    torch.testing.assert_close(found, torch.ones_like(u))


def test_short_axes_have_derivatives_too():
    u = torch.tensor([[[1.0, 4.0]]])
    assert derivative(u, 2, periodic=False).tolist() == [[[3.0, 3.0]]]
    assert derivative(u[..., :1], 2, periodic=True).tolist() == [[[0.0]]]


def test_derivatives_follow_the_length_of_the_axis():
    u = sine(32)[0].reshape(1, 1, -1)
    short = derivative(u, 2, periodic=True, length=1.0)
    torch.testing.assert_close(derivative(u, 2, periodic=True, length=4.0), short / 4)


# ------------------------------------------------------------------------------- normalisation


def test_normalised_channels_have_mean_0_and_deviation_1():
    train = cloud(200)
    found = Normaliser.fit(train, Normalise()).encode(train.inputs)["a"].double()
    torch.testing.assert_close(found.mean((0, 2)), torch.zeros(2).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std((0, 2), correction=0), torch.ones(2).double())


def test_statistics_keep_float64_on_a_large_offset():
    step = 2.0**-6  # a multiple of the spacing of float32 numbers near 10000
    x = torch.tensor([1e4 - step, 1e4 + step, 1e4 + step]).repeat(30_000).reshape(900, 1, 100)
    scale = Normaliser.fit(Cloud({"a": x}, {"u": x}), Normalise()).scales["in_a"]
    assert scale.std.item() == pytest.approx(step * 8**0.5 / 3, rel=1e-6)


def test_a_constant_channel_is_only_shifted():
    x = torch.full((4, 1, 9), 0.1)
    normaliser = Normaliser.fit(Cloud({"a": x}, {"u": x}), Normalise())
    assert normaliser.encode({"a": x})["a"].abs().max() < 1e-6
    torch.testing.assert_close(normaliser.decode(x * 0)["u"], x)


def test_decoding_undoes_the_scaling_and_leaves_low_precision():
    train = cloud()
    normaliser = Normaliser.fit(train, Normalise())
    there = normaliser.scales["out_u"](train.outputs["u"])
    torch.testing.assert_close(normaliser.decode(there)["u"], train.outputs["u"])
    assert normaliser.decode(there.bfloat16())["u"].dtype == torch.float32


def test_no_scaling_changes_nothing():
    train = cloud()
    normaliser = Normaliser.fit(train, Normalise(inputs="none", outputs="none"))
    assert torch.equal(normaliser.encode(train.inputs)["a"], train.inputs["a"])


@pytest.mark.parametrize("name", ["type", "values", "pop", "mean"])
def test_any_name_of_an_input_will_do(name):
    x = torch.randn(4, 2, 3, generator=torch.manual_seed(0))
    made = Normaliser.fit(Cloud({name: x}, {name: x}), Normalise())
    again = Normaliser.from_state(made.state_dict())
    assert torch.equal(made.encode({name: x})[name], again.encode({name: x})[name])


# ------------------------------------------------------------------------------- rates and order


def reference(scheduler, steps, lr=1.0):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    law = scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        law.step()
    return rates


LR = torch.optim.lr_scheduler
LAWS = {
    "constant": (Schedule(kind="constant", epochs=5), lambda o: LR.ConstantLR(o, factor=1.0)),
    "cosine": (Schedule(epochs=5, final=0.1), lambda o: LR.CosineAnnealingLR(o, 20, eta_min=0.1)),
    "step": (
        Schedule(kind="step", epochs=5, every=2, gamma=0.5),
        lambda o: LR.StepLR(o, step_size=8, gamma=0.5),
    ),
    "one_cycle": (
        Schedule(kind="one_cycle", epochs=5, final=0.01),
        lambda o: LR.OneCycleLR(o, 1.0, total_steps=20, final_div_factor=4, cycle_momentum=False),
    ),
}


@pytest.mark.parametrize("kind", LAWS)
def test_a_rate_is_that_of_torch(kind):
    schedule, scheduler = LAWS[kind]
    rate = Rate(schedule, 1.0, 4)
    assert [rate(i) for i in range(20)] == pytest.approx(reference(scheduler, 20), rel=1e-9)


def test_a_warmup_rises_in_equal_steps_to_the_full_rate():
    rate = Rate(Schedule(epochs=10, warmup=2), 1.0, 2)
    assert [rate(i) for i in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_the_order_of_an_epoch_is_a_permutation_of_its_own():
    orders = [permutation(3, epoch, 50).tolist() for epoch in range(3)]
    assert all(sorted(o) == list(range(50)) for o in orders)
    assert orders[0] != orders[1] != orders[2]
    assert permutation(3, 1, 50).tolist() == orders[1]
    assert permutation(4, 1, 50).tolist() != orders[1]


def test_random_states_survive_a_file_without_pickle(tmp_path):
    seed_everything(5)
    torch.save(random_state(), tmp_path / "r.pt")
    first = torch.rand(3)
    restore_random_state(torch.load(tmp_path / "r.pt", weights_only=True))
    assert torch.equal(torch.rand(3), first)


def built(settings, parameters):
    return OPTIMIZERS.find(settings.kind).build(parameters, settings)


def test_the_settings_reach_the_optimizer():
    weights = [torch.nn.Parameter(torch.zeros(1))]
    made = built(Optimizer(kind="sgd", momentum=0.5, weight_decay=0.1), weights)
    assert (made.defaults["momentum"], made.defaults["weight_decay"]) == (0.5, 0.1)
    assert isinstance(built(Optimizer(kind="adam"), weights), torch.optim.Adam)
    assert built(Optimizer(betas=[0.8, 0.9]), weights).defaults["betas"] == (0.8, 0.9)


# ----------------------------------------------------------------------------- device, precision


def code(call, *arguments):
    with pytest.raises(OpError) as caught:
        call(*arguments)
    (told,) = caught.value.diagnostics
    return told.code


def test_a_device_that_is_not_here_is_refused():
    assert code(device_of, "cuda:99") == "OP0623"


def test_auto_finds_a_device():
    assert device_of("auto").type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_fp16_without_cuda_is_refused_and_never_replaced(kind):
    assert code(policy_of, "fp16", torch.device(kind)) == "OP0622"


def test_mixed_on_a_cpu_is_fp32():
    assert policy_of("mixed", CPU) == policy_of("fp32", CPU)


def test_bf16_multiplies_in_bfloat16_and_keeps_the_weights():
    policy = policy_of("bf16", CPU)
    x = policy.place(torch.ones(2, 2))
    with policy.autocast():
        assert (x @ x).dtype == torch.bfloat16
    assert x.dtype == torch.float32


def test_fp64_makes_samples_double():
    assert policy_of("fp64", CPU).place(torch.ones(1)).dtype == torch.float64
