"""Steps in time: what comes back, losses and errors of each step, and going on bit for bit."""

import pytest
import torch
from torch import nn

import opdsl
from opdsl.data.bind.samples import Fields, TimeSteps
from opdsl.diagnostics import OpError
from opdsl.train.config.schema import Checkpoint, Normalise
from opdsl.train.engine.fit import fit
from opdsl.train.engine.precision import PrecisionPolicy
from opdsl.train.engine.rollout import Rollout, shift_window
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.evaluate import apply, evaluate, predict
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.datasets.binding import Binding
from opdsl.workflow.runs.rollout import loop_of
from tests.unit.train.engine.test_fit import Stop
from tests.unit.train.toy_problem import Cloud, quick

POINTS, STEPS = 8, 3
LOOP = Rollout((("v", "u"), ("t", "s")), {"u": 1, "s": 1, "f": 1})
PERIODIC = {"v": (True,)}


class Step(nn.Module):
    """v = a u + b s + f, t = c v: a memory s and a force f."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.a = nn.Parameter(torch.tensor([0.5, 0.2, 0.3]))
        self.noise = nn.Dropout(noise)

    def forward(self, u, s, f):
        v = self.noise(self.a[0] * u) + self.a[1] * s + f
        return {"v": v, "t": self.a[2] * v}


def by_hand(u, s, f, a, steps):
    told = []
    for i in range(steps):
        v = a[0] * u + a[1] * s + (f[:, i] if f.dim() == 4 else f)
        u, s = v, a[2] * v
        told.append(v)
    return torch.stack(told, 1)


def moving(size=10, seed=1, *, force=True):
    """Samples that a = (0.9, -0.4, 0.6) makes."""
    random = torch.Generator().manual_seed(seed)
    u = torch.randn(size, 1, POINTS, generator=random) * 2 + 1
    f = torch.randn(size, STEPS, 1, POINTS, generator=random) * force
    s = torch.zeros(1, 1, POINTS).expand(size, -1, -1)
    v = by_hand(u, s, f, (0.9, -0.4, 0.6), STEPS)
    return Cloud({"u": u, "s": s, "f": f}, {"v": v})


def test_steps_follow_each_other_in_physical_units():
    data, net = moving(), Step()
    normaliser = Normaliser.fit(data, Normalise(), LOOP)
    assert float(normaliser.scales["in_s"].std) == 1  # what begins at zero is left alone
    policy = PrecisionPolicy("fp32", torch.device("cpu"))

    def physical(given):
        return normaliser.decode(net(**normaliser.encode(given)))

    u, s, told = data.inputs["u"], data.inputs["s"], []
    for i in range(STEPS):
        found = physical({"u": u, "s": s, "f": data.inputs["f"][:, i]})
        u, s = found["v"], found["t"]
        told.append(u)
    with torch.no_grad():
        rolled = apply(net, normaliser, data.inputs, policy, LOOP, STEPS)
    torch.testing.assert_close(rolled["v"], torch.stack(told, 1))
    assert rolled["v"].shape == (10, STEPS, 1, POINTS)


def test_without_normalisation_the_steps_are_those_of_the_formula():
    data, net = moving(), Step()
    normaliser = Normaliser.fit(data, Normalise(inputs="none", outputs="none"), LOOP)
    found = predict(net, normaliser, data.inputs, loop=LOOP, steps=STEPS, device="cpu", batch=4)
    expected = by_hand(*data.inputs.values(), net.a.detach(), STEPS)
    torch.testing.assert_close(found["v"], expected)


def test_a_window_forgets_its_oldest_step():
    old, new = torch.arange(3.0).reshape(1, 3, 1), torch.full((1, 1, 1), 9.0)
    assert shift_window(old, new).flatten().tolist() == [1, 2, 9]


def settings(**more):
    return quick(rollout=STEPS, **{"checkpoint": Checkpoint(every=1000)} | more)


def learn(run, said, net=None, **more):
    net = net or Step()
    torch.manual_seed(7)
    valid = moving(seed=2)
    return net, fit(net, moving(), valid, said, run, periodic=PERIODIC, meta={}, loop=LOOP, **more)


@pytest.mark.slow
def test_training_finds_the_coefficients(tmp_path):
    said = settings(epochs=200, normalise=Normalise(inputs="none", outputs="none"))
    net, out = learn(tmp_path, said)
    assert net.a[0].item() == pytest.approx(0.9, abs=0.02)
    assert (net.a[1] * net.a[2]).item() == pytest.approx(-0.4 * 0.6, abs=0.02)
    assert out.metrics.rel_l2 < 0.02


def test_the_loss_is_the_mean_over_steps(tmp_path):
    plain = Normalise(inputs="none", outputs="none")
    _, out = learn(tmp_path, settings(epochs=1, batch=10, normalise=plain))
    data = moving()
    pred = by_hand(*data.inputs.values(), torch.tensor([0.5, 0.2, 0.3]), STEPS)
    each = [rel_l2(pred[:, i], data.outputs["v"][:, i]).mean() for i in range(STEPS)]
    assert out.history[0]["train_loss"] == pytest.approx(float(sum(each)) / STEPS, rel=1e-5)


def test_every_step_has_an_error_of_its_own():
    data, net = moving(), Step()
    plain = Normaliser.fit(data, Normalise(inputs="none", outputs="none"), LOOP)
    told = evaluate(net, plain, data, loop=LOOP, device="cpu", batch=3, periodic=PERIODIC)
    pred = by_hand(*data.inputs.values(), net.a.detach(), STEPS)
    each = [float(rel_l2(pred[:, i], data.outputs["v"][:, i]).mean()) for i in range(STEPS)]
    assert told.steps == pytest.approx(each, rel=1e-5)
    assert told.rel_l2 == pytest.approx(sum(each) / STEPS, rel=1e-5)
    assert told.samples == 10


def test_a_rollout_goes_on_bit_for_bit(tmp_path):
    said = settings(epochs=3, checkpoint=Checkpoint(steps=1))
    whole, _ = learn(tmp_path / "a", said, Step(0.2))
    with pytest.raises(RuntimeError, match="plug"):
        learn(tmp_path / "b", said, Step(0.2), listener=Stop(2, 1))
    again, _ = learn(tmp_path / "b", said, Step(0.2), resume=True)
    assert torch.equal(whole.a, again.a)


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_a_rollout_keeps_its_precision(tmp_path, precision):
    net, out = learn(tmp_path, settings(epochs=2, precision=precision))
    assert net.a.dtype == (torch.float64 if precision == "fp64" else torch.float32)
    assert out.skipped == 0


# --- from the language, and from files

LAG = """edition 2026
model Lag {
  domain D = grid(x: 0..1, boundary = periodic, min = 4)
  input f : D -> R^1
  input u : D -> R^1
  input s : D -> R^2
  output v : D -> R^1
  output t : D -> R^2
  feedback v -> u
  feedback t -> s

  v = concat(f, u, s) |> linear(out = 1)
  t = concat(v, s) |> linear(out = 2) |> tanh()
}
"""


def lag():
    torch.manual_seed(0)
    return opdsl.compile(LAG).eval()


def stepped(net, f, u, s, steps):
    told = []
    for i in range(steps):
        found = net(f=f[:, i] if f.dim() == 4 else f, u=u, s=s)
        u, s = found["v"], found["t"]
        told.append(u)
    return torch.stack(told, 1)


def test_an_input_with_times_is_taken_step_by_step():
    net, f, u = lag(), torch.randn(2, 4, 1, 8), torch.randn(2, 1, 8)
    found = net.rollout(4, f=f, u=u, s=None)
    torch.testing.assert_close(found["v"], stepped(net, f, u, torch.zeros(2, 2, 8), 4))
    assert found["t"].shape == (2, 4, 2, 8)


def test_what_comes_back_may_be_given_for_the_first_steps():
    net, f, u = lag(), torch.randn(2, 1, 8), torch.randn(2, 3, 1, 8)
    found = net.rollout(5, f=f, u=u, s=None)["v"]
    s, told = torch.zeros(2, 2, 8), []
    for i in range(5):
        result = net(f=f, u=u[:, i] if i < 3 else told[-1], s=s)
        s = result["t"]
        told.append(result["v"])
    torch.testing.assert_close(found, torch.stack(told, 1))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"f": torch.zeros(1, 3, 1, 8), "u": None}, "`f` has 3 times, (1, 3, 1, 8), and the"),
        ({"f": torch.zeros(1, 1, 8), "u": torch.zeros(1, 7, 1, 8)}, "`u` has 7 times"),
        ({"f": None, "u": None}, "input `f` is not a tensor but NoneType"),
        ({"f": torch.zeros(1, 1, 8)}, "missing"),
    ],
)
def test_times_that_do_not_fit_are_told(given, says):
    with pytest.raises(OpError) as caught:
        lag().rollout(4, **given, s=None)
    (told,) = caught.value.diagnostics
    assert told.code == "OP0904"
    assert says in told.message


def test_a_state_alone_does_not_know_its_points():
    alone = LAG.replace("  input f : D -> R^1\n", "").replace("concat(f, u, s)", "concat(u, s)")
    with pytest.raises(OpError, match="nothing says how many points"):
        opdsl.compile(alone).rollout(2, None, None)


def held(**values):
    axes, size = ("x",), (8,)
    return Fields("d", values, dict.fromkeys(values, "unknown"), axes, size, (), "d.npz", "f")


def test_steps_in_a_file_are_channels_with_the_time_before_the_components():
    graph = lag().graph
    values = torch.randn(5, 6, 8)
    file = held(f=values, u=torch.randn(5, 1, 8), v=values)
    found = Binding(graph, {"s": "none"}, TimeSteps(4, 1))(file)
    torch.testing.assert_close(found.outputs["v"], values[:, 1:5].unsqueeze(2))
    torch.testing.assert_close(found.inputs["f"], found.outputs["v"])
    assert found.inputs["s"].shape == (5, 2, 8)
    assert set(found.outputs) == {"v"}


def test_an_input_may_stay_the_same_for_all_steps():
    file = held(f=torch.randn(5, 1, 8), u=torch.randn(5, 1, 8), v=torch.randn(5, 4, 8))
    found = Binding(lag().graph, {"s": "none"}, TimeSteps(4))(file)
    assert found.inputs["f"].shape == (5, 1, 8)


@pytest.mark.parametrize(
    ("fields", "steps", "code", "says"),
    [
        ({"s": "none"}, TimeSteps(5), "OP0613", "`v` has 4 steps in time, `rollout` asks for 5"),
        ({"s": "none"}, TimeSteps(4, 1), "OP0613", "1 of which are left out, `rollout` asks for 4"),
        ({"f": "none"}, TimeSteps(4), "OP0604", "`f` does not come back"),
        ({"s": "none"}, None, "OP0604", "`s` comes back in a `rollout` only"),
    ],
)
def test_a_file_that_does_not_fit_the_steps_is_told(fields, steps, code, says):
    file = held(f=torch.randn(5, 1, 8), u=torch.randn(5, 1, 8), v=torch.randn(5, 4, 8))
    with pytest.raises(OpError) as caught:
        Binding(lag().graph, fields, steps)(file)
    told = caught.value.diagnostics[0]
    assert told.code == code
    assert says in told.message


def test_a_rollout_needs_something_that_comes_back():
    plain = opdsl.compile(LAG.replace("  feedback v -> u\n  feedback t -> s\n", "")).graph
    assert loop_of(plain, None) is None
    with pytest.raises(OpError, match="nothing of `Lag` comes back"):
        loop_of(plain, 3)
