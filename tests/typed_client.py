"""A small user of the public API, which `mypy --strict` checks and a test runs.

It is written as a user would write it: from the documentation, with annotations of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import opdsl
from opdsl import EpochRecord, Graph, OpError, Report, Run

PROGRAM = """
edition 2026

from std.pointwise import Lift, Project

model Client {
  domain D = grid(x, boundary = periodic, min = 9)
  input a : D -> R^1
  output u : D -> R^1
  param width : int = 4

  u = a |> Lift(out = width) |> Project(out = 1)
}
"""


def learn(folder: Path) -> tuple[Run, list[EpochRecord]]:
    """Train on arrays, and record the epochs."""
    a: NDArray[np.float32] = np.random.default_rng(0).normal(size=(12, 1, 9)).astype(np.float32)
    graph: Graph = opdsl.load(PROGRAM, width=8)
    records: list[EpochRecord] = []
    run: Run = opdsl.train(
        graph, data={"a": a, "u": 2 * a}, out=folder, epochs=2, progress=records.append
    )
    return run, records


def look(run: Run, folder: Path) -> float:
    """Use the run and its program in every way that is typed."""
    a = np.ones((3, 1, 9), np.float32)
    report: Report = run.evaluate({"a": a, "u": 2 * a})
    opened: Run = opdsl.open_run(run.folder, last=True)
    page: Path = run.report({"a": a, "u": a})
    drawing: Path = opdsl.render(run.graph).save(folder / "model.svg")
    parameters: int = opdsl.summary(run.graph, at=9).parameters
    same: bool = opdsl.diff(run.graph, opened.graph).same
    went_on: Run = opdsl.resume(run, data={"a": a, "u": a}) if not same else run
    module = opdsl.compile(opdsl.load(PROGRAM))
    assert page.exists()
    assert drawing.exists()
    assert parameters > sum(x.numel() for x in module.parameters())
    return report[report.sets[0].name].rel_l2 + float(went_on.predict(a).mean())


def codes(text: str) -> list[str]:
    """Collect what is wrong with a program."""
    try:
        opdsl.load(text)
    except OpError as error:
        return [x.code for x in error.diagnostics]
    return [x.code for x in opdsl.check(text).diagnostics]
