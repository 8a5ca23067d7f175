"""What only an accelerator can show: float16 with its scaler, and resuming on the device."""

import pytest
import torch
from torch import nn

from opdsl.train.config.schema import Checkpoint, Optimizer, Schedule, Settings
from opdsl.train.engine.fit import fit
from opdsl.train.metrics.evaluate import predict
from opdsl.train.run.listener import SilentListener
from tests.e2e.tiny_run import Samples

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

SIZE = (21, 13)  # half-precision transforms exist for powers of two only


class Spectral(nn.Module):
    """A convolution in Fourier space, in float32 whatever the surroundings, and a pointwise map."""

    def __init__(self):
        super().__init__()
        self.lift, self.drop = nn.Linear(1, 8), nn.Linear(8, 1)
        self.weights = nn.Parameter(torch.randn(8, 8, 4, 4, 2) / 8)
        self.dropout = nn.Dropout(0.1)

    def forward(self, a):
        v = self.lift(a.movedim(1, -1)).movedim(-1, 1)
        return self.drop(self.dropout(torch.relu(v + self.convolve(v)).movedim(1, -1))).movedim(
            -1, 1
        )

    def convolve(self, v):
        with torch.autocast("cuda", enabled=False):
            wide = v if v.dtype == torch.float64 else v.float()
            spectrum = torch.fft.rfft2(wide)[..., :4, :4]
            mixed = torch.einsum("bixy,ioxy->boxy", spectrum, torch.view_as_complex(self.weights))
            rest = (0, v.shape[-1] // 2 + 1 - 4, 0, v.shape[-2] - 4)
            return torch.fft.irfft2(nn.functional.pad(mixed, rest), s=v.shape[-2:])


def samples(seed):
    a = torch.randn(12, 1, *SIZE, generator=torch.Generator().manual_seed(seed))
    return Samples({"a": a}, {"u": a.cumsum(-1) / 5 + 3}, resolution=SIZE)


def settings(precision, epochs=20):
    return Settings(
        optimizer=Optimizer(lr=0.01),
        schedule=Schedule(epochs=epochs),
        batch=5,
        device="cuda",
        precision=precision,
        clip=5.0,
        checkpoint=Checkpoint(steps=1),
    )


def learn(run, precision, **more):
    torch.manual_seed(3)
    module = Spectral()
    given = {"periodic": {"u": (False, False)}, "meta": {"arch": "x"}} | more
    out = fit(module, samples(1), samples(2), settings(precision), run, **given)
    return module, out


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "mixed", "fp64"])
def test_every_precision_learns_at_sizes_that_are_no_powers_of_two(tmp_path, precision):
    module, out = learn(tmp_path / "run", precision)
    assert out.history[-1]["train_loss"] < 0.9 * out.history[0]["train_loss"]
    found = predict(module, out.normaliser, samples(2).inputs, device="cuda", precision=precision)
    assert torch.isfinite(found["u"]).all()


def test_half_precision_agrees_with_float32(tmp_path):
    losses = {
        p: learn(tmp_path / p, p)[1].history[-1]["train_loss"] for p in ("fp32", "fp16", "bf16")
    }
    assert losses["fp16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1)


class Unplugged(SilentListener):
    """Ends a run as an accident would."""

    def step(self, epoch, step, loss):
        if (epoch, step) == (4, 2):
            raise RuntimeError("the plug was pulled")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_run_resumed_on_the_device_goes_on_as_it_was(tmp_path, precision):
    whole, _ = learn(tmp_path / "whole", precision)
    with pytest.raises(RuntimeError, match="the plug"):
        learn(tmp_path / "run", precision, listener=Unplugged())
    again, _ = learn(tmp_path / "run", precision, resume=True)
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=1e-3, atol=1e-4)


def test_an_overflow_of_float16_halves_the_scale_and_is_no_fault(tmp_path):
    _, out = learn(tmp_path / "run", "fp16")
    state = torch.load(newest(tmp_path / "run"), weights_only=True)
    assert out.skipped < 20
    assert state["scaler"]["scale"] <= 65536.0


def newest(run):
    return max((run / "checkpoints").glob("step-*")) / "state.pt"
