"""The page of a comparison: tables, curves over epochs and time, predictions on common samples."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any

from opdsl.train.report.charts import CurvePoints, chart
from opdsl.train.report.curves import error_series, line, number
from opdsl.train.report.markup import (
    duration,
    figure,
    numbers,
    paragraphs,
    preformatted,
    table,
    words,
)
from opdsl.train.report.page import heading, write_page
from opdsl.train.report.predictions import compared_html
from opdsl.workflow.comparison.compare import MISSING, Comparison, set_words
from opdsl.workflow.comparison.pictures import CommonSamples, common_samples
from opdsl.workflow.comparison.runs import ComparedRun
from opdsl.workflow.datasets.reading.in_memory import TrainingData
from opdsl.workflow.errors import Warn

LINES = 400  # of the difference of two programs


def write_comparison(
    comparison: Comparison, path: Path, data: TrainingData | None, warn: Warn
) -> Comparison:
    """Write the page, and return the comparison with its path and with notes about samples.

    Raises:
        OpError: OP0610 to OP0615, `data` cannot be read or do not fit; OP0625, the page cannot be
            written.
    """
    common = common_samples(comparison.runs, data, warn)
    comparison = replace(comparison, notes=(*comparison.notes, *common.notes), page=path)
    names = comparison.names
    title = f"{names[0]} and {names[1]}" if len(names) == 2 else f"{len(names)} runs"
    sections = (
        ("", heading(title, "a comparison of trained runs", ())),
        ("Runs", numbers([_run_row(x) for x in comparison.runs])),
        (
            "Errors",
            _errors(comparison) + paragraphs(f"{x[:1].upper()}{x[1:]}." for x in comparison.notes),
        ),
        ("Learning curves", _curves(comparison.runs)),
        ("Samples", _samples(common)),
        ("Error spectra", _spectra(common)),
        ("Settings that differ", _settings(comparison)),
        ("Models", _models(comparison)),
        ("Programs", _programs(comparison.runs)),
    )
    write_page(path, title, sections)
    return comparison


def _run_row(run: ComparedRun) -> dict[str, Any]:
    return {
        "run": run.name,
        "model": run.graph.name,
        "parameters": f"{run.parameters:,}",
        "epochs": len(run.history),
        "best epoch": MISSING if run.best_epoch is None else run.best_epoch,
        "time": duration(run.seconds),
        "train loss": number(run.history[-1]["train_loss"]) if run.history else None,
        "finished": "yes" if run.finished else "no",
    }


def _errors(comparison: Comparison) -> str:
    """Tabulate each metric: a row for each run and set, so that no table is wider than a screen."""
    parts = []
    for metric in comparison.metrics:
        rows = comparison.error_rows(metric)
        if rows:
            cells = [(name, *row) for name, row in rows.items()]
            caption = f"<h3>{escape(words(metric))}</h3>"
            parts.append(caption + table(("set", *comparison.names), cells, kind="numbers"))
    seeds = comparison.seeds()
    texts = [
        f"{set_words(k)}: {m:.4g} ± {d:.2g} over the seeds (rel. L2)."
        for k, (m, d) in seeds.items()
    ]
    star = ["A star marks the smallest error."] if any("*" in x for x in parts) else []
    return "".join(parts) + paragraphs([*texts, *star])


def _curves(runs: Sequence[ComparedRun]) -> str:
    by_epoch: dict[str, CurvePoints] = {}
    by_time: dict[str, CurvePoints] = {}
    for run in runs:
        series = error_series(run.history)
        if not series:
            continue
        by_epoch[run.name] = next(iter(series.values()))
        clock = accumulate(number(x.get("seconds")) or 0.0 for x in run.history)
        times = {row["epoch"]: t for row, t in zip(run.history, clock, strict=True)}
        by_time[run.name] = [(times[int(e)], y) for e, y in by_epoch[run.name]]
    losses = {x.name: line(x.history, "train_loss") for x in runs}
    rates = {x.name: line(x.history, "lr") for x in runs}
    charts = (
        ("validation error, rel. L2", by_epoch, "epoch"),
        ("validation error, rel. L2", by_time, "seconds"),
        ("training loss", losses, "epoch"),
        ("learning rate", rates, "epoch"),
    )
    return _plots([(title, chart(x, across=across)) for title, x, across in charts])


def _plots(charts: Sequence[tuple[str, str]]) -> str:
    figures = "".join(figure(drawn, title) for title, drawn in charts if drawn)
    return f'<div class="plots">{figures}</div>' if figures else ""


def _samples(common: CommonSamples) -> str:
    shown = "".join(compared_html(x) for x in common.samples)
    note = f'<p class="note">Of the set {escape(common.name)}.</p>'
    return note + shown if shown else ""


def _spectra(common: CommonSamples) -> str:
    return _plots(
        [
            (f"{x.name}: mean energy", chart(x.lines, across=x.waves, log_across=True))
            for x in common.spectra
        ]
    )


def _settings(comparison: Comparison) -> str:
    rows = [(k, *(x or MISSING for x in row)) for k, row in comparison.settings.items()]
    return table(("setting", *comparison.names), rows)


def _models(comparison: Comparison) -> str:
    """Show how each model differs from the first one."""
    first = comparison.runs[0].name
    parts = []
    for run, model in zip(comparison.runs[1:], comparison.models, strict=True):
        head = (
            f"<h3>{escape(run.name)}, compared with {escape(first)}: {escape(model.verdict)}</h3>"
        )
        parts.append(head + ("" if model.same else preformatted(str(model))))
    return "".join(parts)


def _programs(runs: Sequence[ComparedRun]) -> str:
    """Show the lines in which each program differs from the first one."""
    first, *others = runs
    parts = []
    for run in others:
        lines = difflib.unified_diff(
            first.program.splitlines(),
            run.program.splitlines(),
            first.name,
            run.name,
            lineterm="",
            n=2,
        )
        text = "\n".join(list(lines)[:LINES])
        if text:
            parts.append(f"<h3>{escape(run.name)}</h3>{preformatted(text)}")
    return "".join(parts)
