"""`opdsl import neuralop`: programs and folders from calls, configs and weights."""

import json

import pytest
import torch

from tests.e2e.command_line import good, run

CALL = "FNO((4, 4), 1, 1, 6, n_layers = 2)"


def test_a_call_becomes_a_program_that_checks(tmp_path):
    out = tmp_path / "fno.op"
    good("import", "neuralop", CALL, "-o", str(out))
    assert good("check", str(out)).strip().endswith("no faults")
    good("fmt", "--check", str(out))
    assert out.read_text() == good("import", "neuralop", CALL).rstrip("\n") + "\n"


def test_a_config_becomes_a_program(tmp_path):
    config = tmp_path / "model.json"
    options = {"n_modes": [4, 4], "data_channels": 2, "out_channels": 1, "hidden_channels": 6}
    config.write_text(json.dumps({"model": {"model_arch": "fno"} | options}))
    assert "input x : D -> R^2" in good("import", "neuralop", str(config))


def weights(path) -> None:
    """What neuraloperator would have saved of a small model, made from our own shapes."""
    shapes = {"lifting.fcs.0.weight": (12, 3, 1), "lifting.fcs.0.bias": (12,)}
    shapes |= {"lifting.fcs.1.weight": (6, 12, 1), "lifting.fcs.1.bias": (6,)}
    shapes |= {"projection.fcs.0.weight": (12, 6, 1), "projection.fcs.0.bias": (12,)}
    shapes |= {"projection.fcs.1.weight": (1, 12, 1), "projection.fcs.1.bias": (1,)}
    for i in range(2):
        block = "fno_blocks."
        shapes |= {f"{block}convs.{i}.bias": (6, 1, 1)}
        shapes |= {f"{block}fno_skips.{i}.conv.weight": (6, 6, 1)}
        shapes |= {f"{block}channel_mlp_skips.{i}.weight": (1, 6, 1, 1)}
        shapes |= {f"{block}channel_mlp.{i}.fcs.0.weight": (3, 6, 1)}
        shapes |= {f"{block}channel_mlp.{i}.fcs.0.bias": (3,)}
        shapes |= {f"{block}channel_mlp.{i}.fcs.1.weight": (6, 3, 1)}
        shapes |= {f"{block}channel_mlp.{i}.fcs.1.bias": (6,)}
    held = {k: torch.randn(s) for k, s in shapes.items()}
    for i in range(2):
        key = f"fno_blocks.convs.{i}.weight.tensor"
        held[key] = torch.randn(6, 6, 4, 3, dtype=torch.complex64)
    torch.save(held, path)


def test_weights_become_a_folder_with_ours(tmp_path):
    from opdsl.export.folder import load_compiled

    file, out = tmp_path / "model_state_dict.pt", tmp_path / "imported"
    weights(file)
    good("import", "neuralop", str(file), "--call", CALL, "-o", str(out))
    held = torch.load(file, weights_only=True)
    compiled = load_compiled(out)
    mine = compiled.weights["layers.repeat.1.layer.k.weight"]
    theirs = held["fno_blocks.convs.1.weight.tensor"]
    torch.testing.assert_close(torch.view_as_complex(mine), theirs.permute(2, 3, 0, 1))
    good("check", str(out / "resolved.op"))


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (["FNOO((4, 4), 1, 1, 6)"], 3, "did you mean `FNO`"),
    (["FNO((4, 4), 1, 1, 6, n_layer = 2)"], 2, "did you mean `n_layers`"),
    (["nowhere.pt"], 2, "is no file"),
])  # fmt: skip
def test_what_cannot_be_read_is_one_diagnostic(arguments, code, says):
    found = run("import", "neuralop", *arguments)
    assert found.exit_code == code
    assert says in found.stderr
    assert "Traceback" not in found.stderr


def test_weights_without_a_call_ask_for_one(tmp_path):
    file = tmp_path / "model_state_dict.pt"
    weights(file)
    found = run("import", "neuralop", str(file))
    assert found.exit_code == 2
    assert "--call" in found.stderr


def test_weights_of_another_model_are_refused(tmp_path):
    file, out = tmp_path / "model_state_dict.pt", tmp_path / "imported"
    weights(file)
    other = CALL.replace("n_layers = 2", "n_layers = 3")
    found = run("import", "neuralop", str(file), "--call", other, "-o", str(out))
    assert found.exit_code == 4
    assert "OP0643" in found.stderr
    assert not out.exists()


def test_a_model_on_points_is_told_its_latent_grid(tmp_path):
    out = tmp_path / "gino.op"
    call = "GINO(3, 1, fno_n_modes = (4, 4, 4), fno_hidden_channels = 4)"
    good("import", "neuralop", call, "--latent", "12", "-o", str(out))
    assert "param latent : int = 12" in out.read_text()
    good("check", str(out))
    config = tmp_path / "model.yaml"
    config.write_text("model_arch: fnogno\ndata_channels: 2\nout_channels: 1\n")
    assert "input x : L -> R^2" in good("import", "neuralop", str(config))
    found = run("import", "neuralop", CALL, "--latent", "12")
    assert found.exit_code == 2
    assert "no argument `latent`" in found.stderr
