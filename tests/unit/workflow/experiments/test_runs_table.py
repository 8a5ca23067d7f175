"""The table of runs: settings that differ, hashes, errors and cost, and folders of strangers."""

import json
import shutil

import pytest

import opdsl
from opdsl.diagnostics import OpError
from tests.unit.workflow.experiments.line_problem import PROGRAM, waves


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    said = {"data": waves(), "valid": waves(4, 1), "test": waves(3, 2), "epochs": 2, "batch": 6}
    opdsl.train(PROGRAM, out=root / "a", **said)
    more = {"parameters": {"width": 5}, "data": waves(10, 4), "optimizer.lr": 0.05}
    opdsl.train(PROGRAM, out=root / "deep" / "b", **(said | more))
    return root


def test_the_table_has_the_settings_that_differ_and_no_others(root):
    table = opdsl.runs(root)
    assert [x.folder.name for x in table.rows] == ["a", "b"]
    assert table.differing == ["model.width", "optimizer.lr"]
    heads, a, b = table.cells()
    assert heads[0] == "run"
    assert dict(zip(heads, a, strict=True))["model.width"] == "2"
    assert dict(zip(heads, b, strict=True))["optimizer.lr"] == "0.05"
    assert "deep/b" in str(table)


def test_a_setting_that_a_run_of_an_earlier_version_lacks_has_its_default(root, tmp_path):
    shutil.copytree(root, tmp_path / "both")
    settings = tmp_path / "both" / "a" / "settings.yaml"
    lines = settings.read_text().splitlines(keepends=True)
    kept = [x for x in lines if not x.startswith(("clip", "noise"))]
    assert len(kept) == len(lines) - 2
    settings.write_text("".join(kept))
    assert opdsl.runs(tmp_path / "both").differing == ["model.width", "optimizer.lr"]


def test_errors_and_cost_are_those_of_the_runs(root):
    for row in opdsl.runs(root).rows:
        run = opdsl.open_run(row.folder)
        assert row.valid == run.metrics.valid[0]["rel_l2"]
        assert row.test == run.metrics.tests[0]["rel_l2"]
        assert row.parameters == sum(p.numel() for p in run.module.parameters())
        assert row.seconds == pytest.approx(sum(x["seconds"] for x in run.metrics.history))
        assert run.about["data"]["fingerprint"].startswith(row.data)
        assert (row.epoch, row.epochs, row.status) == (2, 2, "finished")
    first, second = opdsl.runs(root).rows
    assert first.data != second.data


def test_runs_are_sorted_by_their_error(root):
    for key in ("valid", "test", "seconds", "parameters"):
        rows = opdsl.runs(root, sort=key).rows
        assert getattr(rows[0], key) <= getattr(rows[1], key)


def test_a_run_in_progress_says_how_far_it_is(root, tmp_path):
    run = tmp_path / "c"
    shutil.copytree(root / "a", run)
    about = json.loads((run / "opdsl.json").read_text())
    (run / "opdsl.json").write_text(json.dumps(about | {"finished": None}))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text(lines[0] + "\n")
    (run / "model.safetensors").unlink()
    (row,) = opdsl.runs(tmp_path).rows
    assert (row.status, row.parameters, row.test) == ("1 of 2 epochs", None, None)
    assert row.valid == json.loads(lines[0])["valid"]["rel_l2"]


def test_a_damaged_run_is_a_note(root, tmp_path):
    shutil.copytree(root / "a", tmp_path / "good")
    shutil.copytree(root / "a", tmp_path / "weights")
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"\x00" * 30)
    shutil.copytree(root / "a", tmp_path / "settings")
    (tmp_path / "settings" / "settings.yaml").write_text("a: [")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "opdsl.json").write_text("[]")
    shutil.copytree(root / "a", tmp_path / "types")
    row = {"epoch": 2, "valid": {"rel_l2": "x"}, "seconds": "y", "train_loss": 1.0, "lr": 1.0}
    (tmp_path / "types" / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    table = opdsl.runs(tmp_path, sort="valid")
    assert [x.folder.name for x in table.rows] == ["good", "weights", "types"]
    assert table.rows[1].parameters is None
    assert (table.rows[2].valid, table.rows[2].seconds) == (None, 0.0)
    assert len(table.notes) == 2


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(OpError) as caught:
        opdsl.runs(tmp_path)
    assert caught.value.diagnostics[0].code == "OP0627"
