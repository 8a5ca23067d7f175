"""The front page: its programs check, its error is printed as shown, its Python runs."""

import re
import shutil
from pathlib import Path

import pytest

import opdsl
from tests.e2e.command_line import ROOT, good, run

README = (ROOT / "README.md").read_text(encoding="utf-8")


def fences(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with the programs that the page names."""
    for folder in ("specs", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_program_checks_and_is_that_of_the_picture(tmp_path):
    (text,) = fences("op")
    path = tmp_path / "model.op"
    path.write_text(text)
    good("check", "--strict", path)
    shown = opdsl.load(ROOT / "examples/darcy/fno_darcy.op")
    assert opdsl.load(text).nodes[0].path == shown.nodes[0].path
    assert good("fingerprint", path) == good("fingerprint", ROOT / "examples/darcy/fno_darcy.op")


def test_the_error_is_printed_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (text,) = fences("op")
    assert text.count("modes = 12") == 1
    Path("wrong.op").write_text(text.replace("modes = 12", "modes = 24"))
    (shown,) = (x for x in fences("text") if x.startswith("error"))
    printed = run("check", "wrong.op").stdout.replace(str(ROOT) + "/", "")
    assert printed.startswith(shown.rstrip())


def test_training_on_arrays_runs(checkout):
    (text,) = (x for x in fences("python") if "opdsl.train" in x)
    smaller = text.replace("(200, 1,", "(40, 1,").replace("epochs=20", "epochs=1")
    assert smaller.count("40, 1,") == smaller.count("epochs=1") == 1
    scope: dict[str, object] = {}
    exec(smaller, scope)  # noqa: S102  our page
    assert scope["prediction"].shape == (5, 1, 33, 33)
    assert (checkout / "runs/mine/report.html").is_file()
    assert opdsl.open_run("runs/mine").metrics.history


@pytest.mark.usefixtures("checkout")
def test_modules_without_training_run():
    (text,) = (x for x in fences("python") if "opdsl.compile" in x)
    scope: dict[str, object] = {}
    exec(text, scope)  # noqa: S102  our page
    assert scope["u"].shape == (1, 1, 129, 129)


PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "grammar", "examples")


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page):
    place = ROOT / page
    pages = [place] if place.is_file() else sorted(place.rglob("*.md"))
    broken = [
        f"{x.relative_to(ROOT)}: {link}"
        for x in pages
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", x.read_text(encoding="utf-8"))
        if "://" not in link and not (x.parent / link).exists()
    ]
    assert broken == []
