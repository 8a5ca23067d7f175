"""The public API: its names, its help, its types, and that the library never prints."""

import ast
import inspect
import os
import pydoc
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import opdsl

ROOT = Path(__file__).parents[2]
LIBRARY = [x for x in sorted((ROOT / "opdsl").rglob("*.py")) if "cli" not in x.parts]
LIBRARY = [
    x for x in LIBRARY if x.parts[-2:] != ("foreign", "worker.py")
]  # answers its parent on stdout
PRINTERS = {"print", "pprint", "echo", "secho"}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def prints(tree):
    """The calls of printing functions, streams of the process, and imports of what prints."""
    for x in ast.walk(tree):
        if isinstance(x, ast.Call):
            name = x.func.id if isinstance(x.func, ast.Name) else getattr(x.func, "attr", "")
            if name in PRINTERS:
                yield name
        elif isinstance(x, ast.Attribute) and x.attr in STREAMS:
            if isinstance(x.value, ast.Name) and x.value.id == "sys":
                yield f"sys.{x.attr}"
        elif isinstance(x, ast.ImportFrom | ast.Import):
            names = [x.module or ""] if isinstance(x, ast.ImportFrom) else [y.name for y in x.names]
            yield from (y for y in names if y.split(".")[0] in {"typer", "rich", "click"})


@pytest.mark.parametrize(
    "text", ["print(1)", "import rich.console", "sys.stderr.write('x')", "typer.echo('x')"]
)
def test_printing_is_found(text):
    assert list(prints(ast.parse(text)))


def test_the_library_never_prints():
    found = {str(x.relative_to(ROOT)): list(prints(ast.parse(x.read_text()))) for x in LIBRARY}
    assert {k: x for k, x in found.items() if x} == {}


def test_dir_shows_the_public_names_and_no_others():
    assert dir(opdsl) == sorted(opdsl.__all__)
    assert {"train", "open_run", "load", "compile", "Run"} <= set(dir(opdsl))


def test_every_public_name_says_where_it_lives():
    for name in set(opdsl.__all__) - {"__version__"}:
        assert getattr(import_module(opdsl.HOMES[name]), name) is not None, name


def test_help_shows_how_to_train_on_arrays():
    text = pydoc.plain(pydoc.render_doc(opdsl))
    assert 'opdsl.train(graph, data={"u0": a, "u": u}' in text
    assert "train(" in text.split("FUNCTIONS")[-1] or "PACKAGE CONTENTS" in text
    assert "Train a model" in pydoc.plain(pydoc.render_doc(opdsl.train))


@pytest.mark.parametrize("name", opdsl.PACKAGES)
def test_a_function_with_the_name_of_a_package_is_both(name):
    import_module(f"opdsl.{name}")
    found = getattr(opdsl, name)
    assert inspect.ismodule(found)
    assert callable(found)
    assert inspect.signature(found) == inspect.signature(
        getattr(import_module(opdsl.HOMES[name]), name)
    )


def test_a_package_is_a_function_whoever_imports_it_first():
    code = "import opdsl.train.run.folder, opdsl; assert callable(opdsl.train), type(opdsl.train)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)  # noqa: S603  our own program


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'torch', 'pydantic', 'numpy', 'typer', 'lark'} & set(sys.modules)"
    code = f"import sys, opdsl; dir(opdsl); found = {heavy}; assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)  # noqa: S603  our own program


@pytest.mark.parametrize("name", sorted(set(opdsl.__all__) - {"__version__"}))
def test_a_public_docstring_has_an_example_or_names_the_one_of_a_function(name):
    if name in {"Diagnostic", "Geometry", "OpError", "Packed", "Graph", "ArgumentError"}:
        pytest.skip("a type that other functions return or take")
    text = inspect.getdoc(getattr(import_module(opdsl.HOMES[name]), name)) or ""
    assert ">>> " in text or "for an example" in text


def test_the_package_has_types():
    assert (ROOT / "opdsl" / "py.typed").exists()


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_client_of_the_public_api_is_typed(tmp_path):
    # with the options and in the cache of `make lint`, which has checked the package already
    (tmp_path / "wrong.py").write_text("import opdsl\nx: int = opdsl.open_run('a').folder\n")
    files = ["tests/typed_client.py", str(tmp_path / "wrong.py")]
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-m", "mypy", *files],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        check=False,
    )
    errors = [x for x in done.stdout.splitlines() if ": error:" in x]
    assert ["wrong.py" in x for x in errors] == [True], done.stdout + done.stderr
