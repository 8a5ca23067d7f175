"""The wheel, without the checkout: grammar, library and specs travel inside."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the unpacked wheel."""
    pytest.importorskip("hatchling", reason="the build back end is not installed")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603  our own build
    (wheel,) = out.glob("*.whl")
    site = out / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(installed, *words, cwd):
    environment = {**os.environ, "PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(cwd)}
    command = [sys.executable, "-m", "opdsl", *words]
    return subprocess.run(  # noqa: S603  our own program
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_carries_everything_that_is_no_python(installed):
    for kind in ("grammar", "library", "specs"):
        ours = {x.relative_to(ROOT) for x in (ROOT / kind).rglob("*.op")}
        theirs = {x.relative_to(installed / "opdsl") for x in (installed / "opdsl").rglob("*.op")}
        assert ours <= theirs
    assert (installed / "opdsl" / "grammar" / "op.lark").is_file()


def test_a_program_is_checked_far_from_the_checkout(installed, tmp_path):
    spec = installed / "opdsl" / "specs" / "fno_darcy.op"
    done = run(installed, "check", str(spec), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_code_is_explained_far_from_the_checkout(installed, tmp_path):
    done = run(installed, "explain", "OP0309", cwd=tmp_path)
    assert "too many modes" in done.stdout


def test_the_module_that_runs_is_the_one_of_the_wheel(installed, tmp_path):
    where = [sys.executable, "-c", "import opdsl; print(opdsl.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(  # noqa: S603  our own program
        where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).is_relative_to(installed)
