"""Precisions: which parts are narrow, how far they are from float64, runs that go on in them."""

import pytest
import torch
from torch import nn

from opdsl.diagnostics import OpError
from opdsl.lower.module import lower
from opdsl.nn.spectral.conv import SpectralConv
from opdsl.train.config.schema import Checkpoint
from opdsl.train.engine.fit import fit
from opdsl.train.engine.precision import policies, policy_of
from opdsl.train.metrics.evaluate import evaluate, predict
from opdsl.train.metrics.precision_errors import precision_errors
from opdsl.train.run.listener import SilentListener
from tests.operators import fourier
from tests.unit.train.toy_problem import cloud, quick

CPU = torch.device("cpu")
ROUND = {torch.bfloat16: 2**-9, torch.float16: 2**-12}  # half the distance of neighbours of 1
GRIDS = [(64,), (60,), (63,), (48, 48), (60, 45), (21, 24, 15)]  # only one has powers of two


def apart(found, exact):
    return float((found.detach().double() - exact.detach()).norm() / exact.detach().norm())


def conv(axes, modes=5, **more):
    torch.manual_seed(0)
    return SpectralConv(6, 6, (modes,) * axes, **more)


def narrow(layer, x, dtype):
    layer.low_precision = True
    with torch.autocast("cpu", dtype):
        return layer(x)


@pytest.mark.parametrize("dtype", ROUND)
@pytest.mark.parametrize("grid", GRIDS)
def test_a_narrow_layer_rounds_and_takes_any_number_of_points(grid, dtype):
    layer, x = conv(len(grid)), torch.randn(2, *grid, 6)
    exact = conv(len(grid)).double()(x.double())
    error = apart(narrow(layer, x, dtype), exact)
    # each axis rounds twice on each way, so do R and what it gives: errors add as squares
    assert ROUND[dtype] / 4 < error < 2 * (4 * len(grid) + 4) ** 0.5 * ROUND[dtype]


@pytest.mark.parametrize("more", [{"separable": True}, {"factor": "tucker", "ranks": (4, 4, 5, 5)}])
def test_so_do_other_weights(more):
    x = torch.randn(2, 30, 27, 6)
    exact = conv(2, **more).double()(x.double())
    assert apart(narrow(conv(2, **more), x, torch.bfloat16), exact) < 16 * ROUND[torch.bfloat16]


def test_its_gradients_are_as_near():
    layer, x = conv(2), torch.randn(2, 30, 27, 6)
    exact = conv(2).double()
    g = torch.randn(2, 30, 27, 6)
    narrow(layer, x, torch.bfloat16).backward(g)
    exact(x.double()).backward(g.double())
    assert apart(layer.weight.grad, exact.weight.grad) < 16 * ROUND[torch.bfloat16]


@pytest.mark.parametrize("reason", ["not asked for", "no autocast", "complex"])
def test_else_a_layer_is_in_single_precision(reason):
    real = reason != "complex"
    layer, x = conv(2, real=real), torch.randn(2, 30, 27, 6, dtype=None if real else torch.cfloat)
    layer.low_precision = reason != "not asked for"
    exact = conv(2, real=real).double()(x.to(torch.float64 if real else torch.complex128))
    with torch.autocast("cpu", torch.bfloat16, enabled=reason != "no autocast"):
        found = layer(x)
    found, exact = found.detach(), exact.detach()
    assert float((found - exact).abs().max() / exact.abs().max()) < 1e-6


@pytest.mark.parametrize("n", [255, 256])
def test_float16_holds_the_spectrum_of_what_it_holds(n):
    x = 3e4 + 1e3 * torch.randn(1, n, n, 6)  # a sum over the points would be 2e9
    layer = conv(2)
    layer.weight.data /= 8  # so that the result is held too
    found = narrow(layer, x, torch.float16)
    assert found.isfinite().all()


def test_only_spectral_policies_make_layers_narrow_and_others_undo_it():
    layer = nn.Sequential(conv(1))
    for name, policy in policies(CPU).items():
        policy.prepare_module(layer)
        assert layer[0].low_precision is name.endswith("_spectral")


@pytest.mark.parametrize("name", ["fp16_spectral", "tf32"])
def test_what_a_cpu_has_not_is_refused(name):
    with pytest.raises(OpError) as caught:
        policy_of(name, CPU)
    assert [x.code for x in caught.value.diagnostics] == ["OP0622"]


SWITCHES = torch.backends.cuda.matmul, torch.backends.cudnn.conv


@pytest.fixture
def all_tf32():
    """What somebody else has set."""
    before = [x.fp32_precision for x in SWITCHES]
    for x in SWITCHES:
        x.fp32_precision = "tf32"
    yield
    for x, was in zip(SWITCHES, before, strict=True):
        x.fp32_precision = was


@pytest.mark.usefixtures("all_tf32")
@pytest.mark.parametrize(
    ("name", "expected"), [("fp32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")]
)
def test_fp32_is_strict_and_tf32_is_not_and_what_was_set_comes_back(name, expected):
    with policies(torch.device("cuda"))[name].arithmetic():
        assert {x.fp32_precision for x in SWITCHES} == {expected}
    assert {x.fp32_precision for x in SWITCHES} == {"tf32"}


def test_a_model_without_fourier_layers_says_so():
    found = {x.name: x for x in precision_errors(nn.Linear(3, 3), [torch.randn(4, 3)], CPU)}
    assert found["bf16_spectral"].result == found["bf16"].result
    assert "no Fourier layer" in found["bf16_spectral"].why


def test_roundings_are_ordered_and_leave_the_module_alone():
    module = lower(fourier())
    before = {k: x.clone() for k, x in module.state_dict().items()}
    found = {x.name: x for x in precision_errors(module, [torch.randn(2, 1, 20, 20)], CPU)}
    for what in ("result", "gradient"):
        errors = [getattr(found[x], what) for x in ("fp32", "fp16", "bf16")]
        assert errors == sorted(errors)
        assert errors[0] < 1e-6
        assert errors[2] < 0.03
    assert all(torch.equal(x, module.state_dict()[k]) for k, x in before.items())


class Waves(nn.Module):
    """A Fourier layer between two layers at each point."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.first, self.waves, self.last = nn.Linear(2, 6), conv(1, 3), nn.Linear(6, 1)

    def forward(self, a):
        x = self.first(a.mT)
        return {"u": self.last(torch.tanh(x + self.waves(x))).mT}


class Plug(SilentListener):
    def step(self, epoch, step, loss):
        if (epoch, step) == (3, 2):
            raise RuntimeError("the plug was pulled")


def learn(run, settings, **more):
    module = Waves()
    out = fit(module, cloud(), None, settings, run, periodic={"u": (True,)}, meta={}, **more)
    return module, out


def test_a_run_with_narrow_spectra_learns_goes_on_to_the_bit_and_predicts(tmp_path):
    settings = quick(5, checkpoint=Checkpoint(steps=1), precision="bf16_spectral")
    whole, out = learn(tmp_path / "whole", settings)
    assert out.history[-1]["train_loss"] < out.history[0]["train_loss"]
    with pytest.raises(RuntimeError, match="the plug"):
        learn(tmp_path / "run", settings, listener=Plug())
    again, _ = learn(tmp_path / "run", settings, resume=True)
    assert all(torch.equal(x, again.state_dict()[k]) for k, x in whole.state_dict().items())
    more = {"device": "cpu", "precision": "bf16_spectral"}
    assert evaluate(whole, out.normaliser, cloud(seed=2), **more).rel_l2 > 0
    inputs = cloud(seed=2).inputs
    low, wide = (
        predict(whole, out.normaliser, inputs, device="cpu", precision=x)["u"]
        for x in ("bf16_spectral", "fp32")
    )
    assert 1e-5 < apart(low, wide.double()) < 0.03
