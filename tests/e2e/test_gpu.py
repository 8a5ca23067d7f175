"""What only an accelerator can show: float16 with its scaler, and resuming on the device."""

import pytest
import torch
from torch import nn

import opdsl
from opdsl.lower.module import lower
from opdsl.train.config.schema import Checkpoint, Optimizer, Schedule, Settings
from opdsl.train.engine.fit import fit
from opdsl.train.engine.precision import policies
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


PROGRAM = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 13)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> Lift(out = 8) |> repeat 2 { FourierLayer(modes = 5) } |> Project(out = 1)
}
"""


@pytest.mark.parametrize("size", [(60, 45), (63, 22), (64, 64)], ids=str)
@pytest.mark.parametrize("precision", ["bf16", "bf16_spectral", "fp16", "fp16_spectral"])
def test_a_program_is_near_float64_in_every_narrow_precision(precision, size):
    torch.manual_seed(0)
    module = lower(opdsl.load(PROGRAM))
    x = torch.randn(2, 1, *size)
    with torch.no_grad():
        exact = module.double()(x.double())
        policy = policies(torch.device("cuda"))[precision]
        policy.prepare_module(module)
        with policy.arithmetic(), policy.autocast():
            result = module(policy.place(x))
    error = (result.cpu().double() - exact).norm() / exact.norm()
    assert error < (0.03 if "bf16" in precision else 0.004)


@pytest.mark.parametrize("narrow", ["bf16", "fp16"])
def test_transforms_on_the_device_get_single_precision(narrow, monkeypatch):
    seen, rfft = set(), torch.fft.rfft
    monkeypatch.setattr(
        torch.fft, "rfft", lambda x, *args, **named: seen.add(x.dtype) or rfft(x, *args, **named)
    )
    module = lower(opdsl.load(PROGRAM))
    module.force_kernel = "fft"
    policy = policies(torch.device("cuda"))[narrow]
    policy.prepare_module(module)
    with torch.no_grad(), policy.autocast():
        module(policy.place(torch.randn(2, 1, 21, 30)))
    assert seen == {torch.float32}


def test_nodes_on_the_device_have_precisions_of_their_own(tmp_path):
    a = torch.randn(12, 1, 21, 30).numpy()
    run = opdsl.train(
        PROGRAM,
        data={"a": a, "u": 2 * a},
        valid="none",
        out=tmp_path / "run",
        epochs=2,
        precision="bf16",
        device="cuda",
        node_precision={"fp32": ["project"], "fp16": ["lift"]},
    )
    assert all(row["scale"] > 0 for row in run.metrics.history)
    module = opdsl.open_run(tmp_path / "run", device="cuda").module
    dtypes = {}
    for step in module.steps:
        step.module.register_forward_hook(
            lambda _, __, result, path=step.node.path: dtypes.update({path: result.dtype})
        )
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        module(torch.randn(1, 1, 21, 30, device="cuda"))
    assert dtypes["u.lift.w.linear"] == torch.float16
    assert dtypes["u.repeat.0.fourier_layer.local"] == torch.bfloat16
    assert dtypes["u.project.w.linear"] == torch.float32


@pytest.mark.parametrize("node_precision", [{}, {"fp32": ["project"]}], ids=["all", "nodes"])
def test_training_on_the_device_in_half_precision_ends_near_single(tmp_path, node_precision):
    a = torch.randn(40, 1, 21, 30, generator=torch.Generator().manual_seed(0)).numpy()
    losses = {}
    for precision in ("fp32", "fp16", "bf16"):
        nodes = {} if precision == "fp32" else node_precision
        run = opdsl.train(
            PROGRAM,
            data={"a": a, "u": a.cumsum(-1) / 5},
            valid="none",
            out=tmp_path / precision,
            epochs=10,
            precision=precision,
            device="cuda",
            node_precision=nodes,
        )
        losses[precision] = run.metrics.history[-1]["train_loss"]
    assert losses["fp16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1)
