"""`opdsl compare` from the outside."""

import json
import shutil

from tests.e2e.command_line import good, run


def test_runs_are_compared_as_text_as_json_and_on_a_page(trained, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    settings = (other / "settings.yaml").read_text()
    assert "batch: " in settings
    lines = [x if not x.startswith("batch: ") else "batch: 7" for x in settings.splitlines()]
    (other / "settings.yaml").write_text("\n".join(lines) + "\n")
    text = good("compare", trained, other)
    assert "settings that differ" in text
    assert [x.split()[0] for x in text.splitlines() if x.startswith("batch")] == ["batch"]
    plain = json.loads(good("compare", trained, other, "--json"))
    assert plain["settings"]["batch"][1] == "7"
    page = tmp_path / "c.html"
    done = run("compare", trained, other, "--out", page)
    assert f"page  {page}" in done.stderr
    assert "<h2>Samples</h2>" in page.read_text()


def test_one_run_is_refused_and_data_need_a_page(trained, tmp_path):
    alone = run("compare", trained)
    assert alone.exit_code == 2
    assert "error[OP0770]" in alone.stderr
    missing = run("compare", trained, tmp_path / "nothing")
    assert "error[OP0627]" in missing.stderr
    assert run("compare", trained, trained, "--data", "d.h5").exit_code == 2


def test_a_page_that_cannot_be_written_is_one_diagnostic(trained, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    result = run("compare", trained, other, "--out", tmp_path / "missing" / "c.html")
    assert "error[OP0625]" in result.stderr
    assert "Traceback" not in result.stderr
