"""Symmetries from the program to the folder of a run: trained, recorded, resumed, refused."""

import numpy as np
import pytest
import torch
import yaml

import opdsl
from tests.e2e.command_line import good, run

PROGRAM = """edition 2026

model Poisson {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 8)
  input f : D -> R^1
  output v : D -> R^{vx, vy}

  v = f |> linear(out = 8) |> gelu() |> linear(out = 2)
}

train Poisson {
  symmetries = [
    reflect(x, odd = [vx]),
    rotate(x, y, vectors = [(vx, vy)]),
    shift(x),
  ]
  schedule cosine { epochs = 3 }
  batch = 8
  device = cpu
}
"""
DECLARED = ["reflect(x, odd = [vx])", "rotate(x, y, vectors = [(vx, vy)])", "shift(x)"]
N = 8


def flux(f):
    """The gradient of the solution of the Poisson equation on a torus."""
    k = np.fft.fftfreq(N) * N
    k[N // 2] = 0
    kx, ky = k[:, None], k[None]
    symbol = np.maximum(kx**2 + ky**2, 1)
    spectrum = np.fft.fft2(f) / symbol
    return np.concatenate([np.fft.ifft2(1j * x * spectrum).real for x in (kx, ky)], 1)


def data(count=48, seed=0):
    f = np.random.default_rng(seed).normal(size=(count, 1, N, N))
    return {"f": f.astype("float32"), "v": flux(f).astype("float32")}


def heard():
    warnings = []
    return warnings, lambda diagnostics: warnings.extend(x.code for x in diagnostics)


def weights(trained):
    return trained.module.state_dict()


def test_symmetric_data_train_without_a_warning_and_the_folder_records_the_setting(tmp_path):
    warnings, warn = heard()
    trained = opdsl.train(PROGRAM, data=data(), out=tmp_path / "run", warn=warn)
    assert warnings == []
    assert trained.settings.symmetries == DECLARED
    assert yaml.safe_load((tmp_path / "run/settings.yaml").read_text())["symmetries"] == DECLARED
    assert "reflect(x, odd = [vx])" in (tmp_path / "run/report.html").read_text()


def test_a_forgotten_component_is_a_warning(tmp_path):
    warnings, warn = heard()
    wrong = ["reflect(x)", "shift(y)"]
    opdsl.train(PROGRAM, data=data(), out=tmp_path / "run", warn=warn, symmetries=wrong)
    assert warnings == ["OP0654"]


def test_symmetries_change_the_weights_and_an_empty_list_is_a_run_without(tmp_path):
    plain = PROGRAM.replace(PROGRAM[PROGRAM.index("  symmetries") : PROGRAM.index("  sched")], "")
    one = opdsl.train(plain, data=data(), out=tmp_path / "plain")
    two = opdsl.train(PROGRAM, data=data(), out=tmp_path / "none", symmetries=[])
    three = opdsl.train(PROGRAM, data=data(), out=tmp_path / "all")
    assert all(torch.equal(x, weights(two)[k]) for k, x in weights(one).items())
    assert not all(torch.equal(x, weights(three)[k]) for k, x in weights(one).items())


def test_a_run_that_goes_on_equals_one_that_was_not_stopped(tmp_path):
    whole = opdsl.train(PROGRAM, data=data(), out=tmp_path / "whole", epochs=4)

    def stop(record):
        if record.epoch == 2:
            raise RuntimeError("the plug was pulled")

    with pytest.raises(RuntimeError, match="plug"):
        opdsl.train(PROGRAM, data=data(), out=tmp_path / "cut", epochs=4, progress=stop)
    resumed = opdsl.resume(tmp_path / "cut", data=data())
    assert all(torch.equal(x, weights(resumed)[k]) for k, x in weights(whole).items())


def test_a_run_that_goes_on_keeps_its_symmetries(tmp_path):
    opdsl.train(PROGRAM, data=data(), out=tmp_path / "run", epochs=1)
    with pytest.raises(opdsl.OpError) as caught:
        opdsl.resume(tmp_path / "run", data=data(), epochs=2, symmetries=["shift(x)"])
    assert caught.value.diagnostics[0].code == "OP0629"


def test_axes_of_different_numbers_of_points_are_not_exchanged(tmp_path):
    wide = {k: np.concatenate([x, x], -1) for k, x in data().items()}
    with pytest.raises(opdsl.OpError) as caught:
        opdsl.train(PROGRAM, data=wide, out=tmp_path / "run")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0655"
    assert "axes of 8 and 16 points" in diagnostic.message
    assert not (tmp_path / "run").exists()


def test_the_command_line_refuses_what_does_not_fit_and_sets_what_does(tmp_path):
    program = tmp_path / "poisson.op"
    program.write_text(PROGRAM)
    fields = data()
    np.savez(tmp_path / "train.npz", x=fields["f"], y=fields["v"])
    common = ("--data", tmp_path / "train.npz", "-q", "--set", "data.fields.v=y")
    refused = run(
        "train", program, *common, "--out", tmp_path / "a", "--set", "symmetries=swap(x, z)"
    )
    assert refused.exit_code == 3
    assert "OP0655" in refused.stderr
    assert "no input or output of `Poisson` has an axis `z`" in refused.stderr
    text = "symmetries=[swap(x, y, pairs = [(vx, vy)])]"
    good("train", program, *common, "--out", tmp_path / "b", "--epochs", 1, "--set", text)
    settings = yaml.safe_load((tmp_path / "b/settings.yaml").read_text())
    assert settings["symmetries"] == ["swap(x, y, pairs = [(vx, vy)])"]
    assert "reflect(x)" in good("explain", "symmetries")
