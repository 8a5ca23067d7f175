"""Reading, checking, drawing and costing a program import what they need and no more.

The work of a start is the modules that it imports, so modules are counted here and not seconds;
`benchmarks/start_up.py` counts instructions.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import opdsl
from opdsl.compiler import load

ROOT = Path(opdsl.__file__).parents[1]
DARCY = ROOT / "specs" / "fno_darcy.op"
# `networkx` is for analyses that may take their time, `lark` for a grammar that was changed
HEAVY = {"torch", "matplotlib", "h5py", "scipy", "tensorly", "pandas", "networkx", "lark"}
RICH = {"numpy", "yaml", "rich"}  # more that `check` and `fmt` have no use for
MOST = 150  # modules of ours for `check` of a program with settings, of about 850

PROBE = """
import sys
from opdsl.cli import app
try:
    app({arguments!r}, prog_name="opdsl")
except SystemExit as stop:
    assert not stop.code, stop.code
print(*sys.modules, file=sys.stderr)
"""


def imported(tmp_path, *arguments):
    """The modules that a command has imported; the user has measured times of kernels."""
    (tmp_path / "cache" / "opdsl" / "timings").mkdir(parents=True, exist_ok=True)
    text = PROBE.format(arguments=[str(x) for x in arguments])
    ours = {
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OPDSL_NATIVE": "0",  # nothing is compiled
    }
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | ours,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The modules that `opdsl check` imports."""
    return imported(tmp_path_factory.mktemp("check"), "check", DARCY)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("train", "--help"),
        ("check", DARCY),
        ("check", "--format", "json", DARCY),
        ("fmt", "--diff", DARCY),
        ("summary", DARCY, "--at", "x=64,y=64", "--plan"),
        ("summary", DARCY, "--json"),
        ("render", DARCY, "-f", "svg"),
        ("render", DARCY, "-f", "mermaid"),
        ("explain", "OP0309"),
        ("explain", "spectral_conv"),
        ("explain", "optimizer.lr"),
        ("new", "something"),
        ("train", DARCY, "--print-config"),
    ],
    ids=lambda x: " ".join(y.name if isinstance(y, Path) else y for y in x),
)
def test_a_command_that_needs_no_torch_does_not_import_it(tmp_path, arguments):
    assert HEAVY & imported(tmp_path, *arguments) == set()


def test_a_run_folder_is_read_without_torch():
    text = "import sys, opdsl.workflow.folder.reading; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", text], check=True, cwd=ROOT)  # noqa: S603  our own program


def test_a_command_that_needs_torch_imports_it(tmp_path):
    assert "torch" in imported(tmp_path, "compile", DARCY, "-o", tmp_path / "out")


def test_check_imports_no_library_but_those_for_arguments_and_models(checked):
    assert (HEAVY | RICH) & checked == set()


def test_check_imports_the_blocks_of_the_program_only(checked):
    ours = {x.removeprefix("opdsl.blocks.") for x in checked if x.startswith("opdsl.blocks.")}
    blocks = {x.rpartition(".")[2] for x in ours if "." in x and "._" not in x}
    assert blocks == {type(x.block).keyword() for x in load(DARCY).nodes}


def test_only_the_command_that_is_run_is_imported(checked):
    shared = {"completion", "console", "error_handling", "files"}
    commands = {x.rpartition(".")[2] for x in checked if x.startswith("opdsl.cli.")}
    assert commands == {"check"} | shared


def test_what_explains_mistakes_is_not_imported_for_a_program_without_any(checked):
    assert (
        not {
            f"opdsl.syntax.{x}"
            for x in ("explain", "recovery_blanking", "error_context", "error_rules")
        }
        & checked
    )


def test_check_imports_few_modules_of_ours(checked):
    assert sum(x.startswith("opdsl") for x in checked) <= MOST


def test_settings_are_not_imported_for_a_program_that_has_none(tmp_path):
    bare = tmp_path / "bare.op"
    bare.write_text(DARCY.read_text().split("train DarcyFNO")[0])
    assert "opdsl.train.config.settings" not in imported(tmp_path, "check", bare)


def test_a_block_of_another_package_is_found_by_its_keyword_and_only_then(tmp_path):
    """An entry point is a file beside the package; nothing else tells of it."""
    (tmp_path / "theirs.py").write_text(
        "from opdsl.blocks.pointwise.add import Add\n\n\nclass TheirBlock(Add):\n    pass\n"
    )
    (tmp_path / "theirs-1.0.dist-info").mkdir()
    (tmp_path / "theirs-1.0.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1.0\n")
    (tmp_path / "theirs-1.0.dist-info" / "entry_points.txt").write_text(
        "[opdsl.blocks]\ntheir_block = theirs:TheirBlock\n"
    )
    code = """
import json, sys
from opdsl.blocks import find
known = find("linear").__name__
before = "theirs" in sys.modules
found = find("their_block").__name__
print(json.dumps([known, before, found, find("nobodys_block"), find("_measure"), find("os.path")]))
"""
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))},
        check=True,
    )
    assert json.loads(done.stdout) == ["Linear", False, "TheirBlock", None, None, None]
