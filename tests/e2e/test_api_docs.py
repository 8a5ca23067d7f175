"""The examples in the docstrings of the public API, run as they stand there."""

import doctest
import inspect
import shutil
from importlib import import_module
from pathlib import Path

import pytest

import opdsl

OLD = Path(__file__).parents[1] / "fixtures" / "c7bf416"
MODULES = sorted({*opdsl.HOMES.values()} - {"opdsl.nn.points.geometry", "opdsl.nn.points.packed"})
PROGRAM = """
edition 2026

from std.pointwise import Lift, Project

model Line "a small operator on a periodic line" {
  domain D = grid(x, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^1
  param width : int = 8

  u = a |> Lift(out = width) |> Project(out = 1)
}
"""


def examples():
    """The docstrings of the public modules that have examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in MODULES:
        module = import_module(name)
        for found in finder.find(module, name):
            if found.examples:
                yield found


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the examples take as known: a program, a folder, runs and data."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD / "runs", tmp_path / "runs")
    for x in OLD.glob("*.npz"):
        shutil.copy(x, tmp_path)
    return {
        "PROGRAM": PROGRAM,
        "FOLDER": tmp_path,
        "RUN": tmp_path / "runs" / "grid",
        "BAND": tmp_path / "runs" / "band",
        "BAND_DATA": "line_calibration.npz",
    }


@pytest.mark.filterwarnings("ignore::opdsl.workflow.errors.OpWarning")
@pytest.mark.parametrize("example", list(examples()), ids=lambda x: x.name)
def test_an_example_gives_what_it_says(example, names):
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    example.globs = dict(names)
    runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)


def test_the_functions_and_the_run_have_examples():
    having = {x.name.rpartition(".")[2] for x in examples()}
    methods = {k for k, x in inspect.getmembers(opdsl.Run, inspect.isfunction) if k[0] != "_"}
    functions = {x for x in opdsl.__all__ if x.islower() and x != "__version__"}
    assert methods | functions <= having
