"""The wheel, without the checkout: grammar, library and specs travel inside."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import which

import pytest

from tests.compilers import quick_compiler

ROOT = Path(__file__).parents[2]
NATIVE = {".cpp", ".h", ".hpp"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from this checkout."""
    pytest.importorskip("hatchling", reason="the build back end is not installed")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603  our own build
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel):
    """A folder with the unpacked wheel."""
    site = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(installed, *words, cwd):
    return python(installed, "-m", "opdsl", *words, cwd=cwd)


def python(installed, *words, cwd, **more):
    environment = {**os.environ, "PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(cwd)} | more
    command = [sys.executable, *words]
    return subprocess.run(  # noqa: S603  our own program
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_carries_everything_that_is_no_python(installed):
    for kind in ("grammar", "library", "specs"):
        ours = {x.relative_to(ROOT) for x in (ROOT / kind).rglob("*.op")}
        theirs = {x.relative_to(installed / "opdsl") for x in (installed / "opdsl").rglob("*.op")}
        assert ours <= theirs
    for name in ("op.lark", "op.tables.json"):
        assert (installed / "opdsl" / "grammar" / name).is_file()
    kernels = [x.relative_to(ROOT) for x in (ROOT / "opdsl").rglob("*") if x.suffix in NATIVE]
    assert kernels
    assert all((installed / x).is_file() for x in kernels)


def test_a_program_is_checked_far_from_the_checkout(installed, tmp_path):
    spec = installed / "opdsl" / "specs" / "fno_darcy.op"
    done = run(installed, "check", str(spec), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_is_checked_by_a_package_in_a_zip_file(wheel, tmp_path):
    spec = tmp_path / "fno_darcy.op"
    spec.write_text((ROOT / "specs" / "fno_darcy.op").read_text())
    done = run(wheel, "check", "fno_darcy.op", cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "fno_darcy.op: no faults\n")
    assert "too many modes" in run(wheel, "explain", "OP0309", cwd=tmp_path).stdout


@pytest.mark.parametrize("place", ["installed", "wheel", "checkout"])
def test_the_stored_tables_are_those_that_are_used(place, tmp_path, request):
    code = (
        "import sys; from opdsl.syntax.grammar import machine; machine().parse('', 'start'); "
        "assert 'lark' not in sys.modules"
    )
    where = ROOT if place == "checkout" else request.getfixturevalue(place)
    done = python(where, "-c", code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not (which("g++") or which("c++")), reason="there is no C++ compiler")
@pytest.mark.slow
def test_kernels_are_compiled_from_the_wheel(installed, tmp_path):
    code = "from opdsl.nn.kernels.native.library import library; print(library() is not None)"
    done = python(installed, "-c", code, cwd=tmp_path, CXX=str(quick_compiler(tmp_path)))
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_a_model_of_the_library_runs_far_from_the_checkout(installed, tmp_path):
    spec = installed / "opdsl" / "specs" / "fno_darcy_small.op"
    code = (
        f"import opdsl, torch; print(opdsl.compile({str(spec)!r})(torch.ones(1, 1, 32, 33)).shape)"
    )
    done = python(installed, "-c", code, cwd=tmp_path)
    assert done.stdout.strip() == "torch.Size([1, 1, 32, 33])"


def test_a_code_is_explained_far_from_the_checkout(installed, tmp_path):
    done = run(installed, "explain", "OP0309", cwd=tmp_path)
    assert "too many modes" in done.stdout


def test_the_module_that_runs_is_the_one_of_the_wheel(installed, tmp_path):
    done = python(installed, "-c", "import opdsl; print(opdsl.__file__)", cwd=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(installed)
