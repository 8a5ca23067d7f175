"""A trained model as a folder for others: `Run.save_pretrained` and `opdsl.from_pretrained`."""

import hashlib
import json
import os
import re
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import opdsl
from tests.e2e.command_line import data, run


@pytest.fixture(scope="module")
def published(tmp_path_factory, trained):
    """A published model, to be read only."""
    return opdsl.open_run(trained).save_pretrained(tmp_path_factory.mktemp("published") / "model")


@pytest.fixture
def model(tmp_path, published):
    """A copy of the published model."""
    return shutil.copytree(published, tmp_path / "model")


def manifest(folder):
    return json.loads((folder / "opdsl.json").read_text())


def rewrite(folder, **more):
    (folder / "opdsl.json").write_text(json.dumps(manifest(folder) | more))


def code_of(folder):
    with pytest.raises(opdsl.OpError) as caught:
        opdsl.from_pretrained(folder)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code


def test_a_published_model_predicts_what_the_run_predicts(published, trained):
    x = torch.randn(2, 1, 17, 17)
    expected = opdsl.open_run(trained).predict(x)
    assert torch.equal(opdsl.from_pretrained(published).predict(x), expected)
    assert torch.equal(opdsl.open_run(published).predict(x), expected)


def test_a_published_model_has_the_errors_of_the_run(published, trained):
    run, copy = opdsl.open_run(trained), opdsl.from_pretrained(published)
    of_file = [x | {"data": "d.h5"} for x in run.metrics.valid]
    assert copy.metrics.valid == of_file
    assert copy.metrics.history == run.metrics.history
    file = trained.parent / "d.h5"
    assert copy.evaluate(file).rows() == run.evaluate(file).rows()


def test_publishing_again_gives_the_same_bytes(tmp_path, published):
    again = opdsl.from_pretrained(published).save_pretrained(tmp_path / "again")
    names = {str(x.relative_to(published)) for x in published.rglob("*")}
    assert {str(x.relative_to(again)) for x in again.rglob("*")} == names
    for name in names:
        assert (again / name).read_bytes() == (published / name).read_bytes(), name


def test_the_list_has_the_hash_of_every_other_file(published):
    listed = {k: x["sha256"] for k, x in manifest(published)["files"].items()}
    assert listed == {
        x.name: hashlib.sha256(x.read_bytes()).hexdigest()
        for x in published.iterdir()
        if x.name != "opdsl.json"
    }


def test_no_path_of_the_publisher_is_published(tmp_path, trained):
    secret = tmp_path / "home-of-alice"
    secret.mkdir()
    shutil.copy(trained.parent / "d.h5", secret / "d.h5")
    program = (trained.parent / "tiny.op").read_text().replace('"d.h5"', f'"{secret}/d.h5"')
    (secret / "tiny.op").write_text(program)
    made = opdsl.train(secret / "tiny.op", out=secret / "run", epochs=1)
    folder = made.save_pretrained(tmp_path / "model")
    assert '"d.h5"' in (folder / "resolved.op").read_text()
    for path in folder.iterdir():
        assert b"home-of-alice" not in path.read_bytes(), path.name
    assert opdsl.from_pretrained(folder).graph.name == "Tiny"


def test_the_card_shows_diagram_data_errors_program_and_hashes(published, trained):
    card = (published / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "opdsl"
    assert "](diagram.svg)" in card
    (row, *_) = opdsl.open_run(trained).metrics.valid
    assert f"| {row['set']} | {row['samples']} | {row['rel_l2']:.4g} |" in card
    assert (published / "resolved.op").read_text().strip() in card
    assert manifest(published)["files"]["model.safetensors"]["sha256"] in card
    assert manifest(published)["data"]["fingerprint"] in card


def test_the_python_of_the_card_runs(published):
    code = re.search(r"```python\n(.*?)```", (published / "README.md").read_text(), re.DOTALL)[1]
    names = {"a": torch.randn(1, 1, 9, 9)}
    exec(code.replace("FOLDER", str(published)), names)  # noqa: S102  our own text
    assert names["prediction"].shape == (1, 1, 9, 9)


def test_imported_files_are_published(tmp_path, trained):
    shutil.copy(trained.parent / "d.h5", tmp_path / "d.h5")
    program = (trained.parent / "tiny.op").read_text()
    program = program.replace("edition 2026\n", 'edition 2026\n\nfrom "parts/own.op" import Own\n')
    program = program.replace("Project(out = 1)", "Project(out = 1) |> Own()")
    (tmp_path / "parts").mkdir()
    own = "edition 2026\n\nblock Own {\n  domain D : grid\n"
    own += "  input x : D -> R^1\n  output y : D -> R^1\n\n  y = gelu(x)\n}\n"
    (tmp_path / "parts" / "own.op").write_text(own)
    (tmp_path / "tiny.op").write_text(program)
    made = opdsl.train(tmp_path / "tiny.op", out=tmp_path / "run", epochs=1)
    folder = made.save_pretrained(tmp_path / "model")
    assert "parts/own.op" in manifest(folder)["files"]
    opdsl.from_pretrained(folder)
    rewrite(folder, files={k: x for k, x in manifest(folder)["files"].items() if "own" not in k})
    assert code_of(folder) == "OP0761"


@pytest.mark.parametrize("name", ["resolved.op", "model.safetensors", "settings.yaml", "README.md"])
def test_a_changed_byte_is_refused(model, name):
    content = bytearray((model / name).read_bytes())
    content[-3] ^= 1
    (model / name).write_bytes(content)
    assert code_of(model) == "OP0761"


@pytest.mark.parametrize("name", ["model.safetensors", "README.md"])
def test_a_missing_file_is_refused(model, name):
    (model / name).unlink()
    assert code_of(model) == "OP0761"


def test_a_file_of_another_size_is_not_read(model):
    with (model / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 40)  # a sparse file of a terabyte
    assert code_of(model) == "OP0761"


def test_a_run_is_not_a_published_model(trained):
    assert code_of(trained) == "OP0760"


@pytest.mark.parametrize("name", ["../tiny.op", "/etc/passwd", "a/../../b", "", "\\\\host\\a"])
def test_a_name_outside_of_the_folder_is_refused(model, name):
    rewrite(model, files=manifest(model)["files"] | {name: {"size": 1, "sha256": "0" * 64}})
    assert code_of(model) == "OP0760"


@pytest.mark.parametrize(
    "rows",
    [[], "x", 7, {"a": 1}, {"a": {"size": "1", "sha256": "0"}}, {str(i): {} for i in range(2000)}],
    ids=["list", "text", "number", "row", "types", "many"],
)
def test_a_list_of_another_form_is_refused(model, rows):
    rewrite(model, files=rows)
    assert code_of(model) == "OP0760"


def test_a_link_is_refused(model):
    (model / "README.md").unlink()
    (model / "README.md").symlink_to("/etc/hostname")
    assert code_of(model) == "OP0628"


def test_a_fifo_is_not_waited_for(model):
    (model / "metrics.jsonl").unlink()
    os.mkfifo(model / "metrics.jsonl")
    assert code_of(model) == "OP0628"


def test_weights_of_another_program_are_refused(model):
    path = model / "model.safetensors"
    tensors = load_file(path)
    name = next(x for x in tensors if x.startswith("module."))
    tensors[name] = torch.zeros(3)
    save_file(tensors, path)
    files = manifest(model)["files"]
    row = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    rewrite(model, files=files | {"model.safetensors": row})
    assert code_of(model) == "OP0626"


def test_a_program_of_gigantic_weights_is_refused_before_they_are_made(model):
    path = model / "resolved.op"
    path.write_text(path.read_text().replace("width : int = 6", "width : int = 900000000"))
    row = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    rewrite(model, files=manifest(model)["files"] | {"resolved.op": row})
    assert code_of(model) in {"OP0630", "OP0208"}


def test_checkpoints_in_a_published_folder_are_not_read(model, trained):
    shutil.copytree(trained / "checkpoints", model / "checkpoints")
    for state in (model / "checkpoints").rglob("state.pt"):
        state.write_bytes(b"no checkpoint")
    x = torch.randn(1, 1, 9, 9)
    assert torch.equal(opdsl.from_pretrained(model).predict(x), opdsl.open_run(trained).predict(x))


def test_a_folder_that_is_not_empty_stays_as_it_is(tmp_path, trained):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(opdsl.OpError, match="not empty") as caught:
        opdsl.open_run(trained).save_pretrained(tmp_path)
    (diagnostic,) = caught.value.diagnostics
    # the command has neither `--resume` nor `--out`
    assert [x.text for x in diagnostic.helps] == ["name a new or empty folder"]
    assert [x.name for x in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_command_publishes_and_says_what(tmp_path, trained):
    written = data("publish", trained, tmp_path / "model", "--json")
    assert "model.safetensors" in written["files"]
    assert opdsl.from_pretrained(written["folder"]).graph.name == "Tiny"
    again = run("publish", trained, tmp_path / "model")
    assert "error[OP0624]" in again.stderr
