"""The commands of the pages on points, run one after the other in a fresh folder, made small."""

import re
import shlex
import shutil

import pytest

import opdsl
from tests.e2e.command_line import ROOT, good

PAGES = ("docs/points.md", "examples/irregular/README.md")
COMMAND = re.compile(r"^\$ opdsl (.+)$", re.MULTILINE)


def commands(page):
    """Those of the section on points, or of the whole page, as lists of arguments."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = text.partition("## Functions on points\n")[2].partition("\n## ")[0]
    return [shlex.split(x) for x in COMMAND.findall(section or text)]


def smaller(arguments):
    """The same command with few samples and epochs."""
    samples = arguments.index("--samples") + 1 if "--samples" in arguments else None
    fewer = ["4" if i == samples else x for i, x in enumerate(arguments)]
    return [*fewer, "--epochs", "1"] if arguments[0] == "train" else fewer


def test_the_program_of_irregular_shapes_checks_clean():
    good("check", ROOT / "examples" / "irregular" / "shapes.op")
    assert opdsl.load(ROOT / "examples" / "irregular" / "shapes.op").name == "Shapes"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_runs(page, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    found = commands(page)
    if any("transport" in x for x in found):
        pytest.importorskip("ot", reason="the package POT is not there")
    assert [x[0] for x in found].count("train") == 1
    for arguments in found:
        good(*smaller(arguments))
    assert (tmp_path / "predicted.h5").exists()
