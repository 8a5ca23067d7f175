"""report.html: a whole run on one page that opens without a network.

Every text is escaped, every picture is in the page, and the page forbids itself scripts and foreign
content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from opdsl.diagnostics import Diagnostic, fault
from opdsl.files import write_whole
from opdsl.train.config.changes import setting_text
from opdsl.train.report.charts import CurvePoints, chart
from opdsl.train.report.curves import TableRow, curves_html, error_series, number
from opdsl.train.report.markup import (
    duration,
    figure,
    image,
    numbers,
    paragraphs,
    preformatted,
    section,
    short,
    table,
)
from opdsl.train.report.samples import SampleFigure, axes_text, sample_html
from opdsl.train.report.style import PAGE, STYLE

LEGIBLE = 0.65  # of its size to which a diagram may shrink


@dataclass(frozen=True, slots=True)
class SpectrumFigure:
    """The energy spectra of an output.

    Attributes:
        name: of the output.
        waves: what the wave numbers are, in words.
        lines: points (wave number, energy) of truth, prediction and error.
    """

    name: str
    waves: str
    lines: Mapping[str, CurvePoints]


@dataclass(frozen=True, slots=True)
class SetFigures:
    """What the page shows of one test set.

    Attributes:
        name: of the set, `33x33`.
        remarks: sentences on which samples were looked at.
        samples: the best, the median and the worst one.
        spectra: of its outputs.
        steps: (step, relative L2 error) of a rollout.
    """

    name: str
    remarks: Sequence[str] = ()
    samples: Sequence[SampleFigure] = ()
    spectra: Sequence[SpectrumFigure] = ()
    steps: CurvePoints = ()


def write_report(  # noqa: PLR0913  one argument for each section of the page
    path: Path,
    *,
    title: str,
    subtitle: str = "",
    diagram_svg: str = "",
    spec: str = "",
    certificate: str = "",
    settings_rows: Sequence[tuple[str, Any, str]] = (),
    history: Sequence[TableRow] = (),
    errors: Sequence[TableRow] = (),
    remarks: Sequence[str] = (),
    warnings: Sequence[Diagnostic] = (),
    selection: Sequence[str] = (),
    changes: Sequence[TableRow] = (),
    sets: Sequence[SetFigures] = (),
    parameters: Sequence[TableRow] = (),
    weights: Sequence[TableRow] = (),
    environment: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page; a section without content is left out.

    Args:
        path: the file to write.
        title: the model's name.
        subtitle: what it is, in a line.
        diagram_svg: the diagram, a whole SVG document.
        spec: the program.
        certificate: what the program guarantees, as text.
        settings_rows: (key, value, origin).
        history: rows of metrics.jsonl.
        errors: one mapping for each resolution; its keys are the headings.
        remarks: sentences on cells of the table without a number.
        warnings: about the errors in the table.
        selection: sentences on which data chose the weights and which only measured them.
        changes: settings that changed while the run went on; their keys are the headings.
        sets: samples and spectra of the test sets.
        parameters: of the model, a mapping each; the keys are the headings.
        weights: trained numbers of each node; the keys are the headings.
        environment: versions, device, fingerprints ...

    Raises:
        OpError: OP0625, the page cannot be written.
    """
    sections = (
        ("", _head(title, subtitle, history, weights)),
        ("Errors by resolution", _errors(errors, remarks, warnings) + paragraphs(selection)),
        ("Learning curves", curves_html(history)),
        ("Test samples", "".join(_samples(x, first=x is sets[0]) for x in sets)),
        ("Error spectra", _plots([y for x in sets for y in _spectra(x)])),
        ("Error of each step", _plots([_steps(sets)])),
        ("Model", _diagram(diagram_svg)),
        ("Parameters", numbers(parameters) + _weights(weights)),
        ("Certificate", preformatted(certificate)),
        ("Program", preformatted(spec)),
        ("Settings", _settings(settings_rows)),
        ("Settings that changed while the run went on", numbers(changes)),
        ("Environment", _environment(environment or {})),
    )
    return write_page(path, title, sections)


def write_page(path: Path, title: str, sections: Sequence[tuple[str, str]]) -> Path:
    """Write sections, each a heading and HTML, as a page; empty ones are left out.

    Raises:
        OpError: OP0625, the page cannot be written.
    """
    body = "\n".join(section(heading, content) for heading, content in sections if content)
    page = PAGE.format(title=escape(title), style=STYLE, body=body)
    try:
        write_whole(path, page.encode())
    except OSError as error:
        message = f"the report could not be written: {(error.strerror or str(error)).lower()}"
        raise fault("OP0625", message, file=str(path)) from error
    return path


def heading(title: str, subtitle: str, facts: Sequence[tuple[str, str]]) -> str:
    """Return the top of a page: its title, a line, and the numbers to look at first."""
    text = f"<h1>{escape(title)}</h1>"
    text += f'<p class="subtitle">{escape(subtitle)}</p>' if subtitle else ""
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return text + (f'<dl class="facts">{items}</dl>' if items else "")


def _head(
    title: str, subtitle: str, history: Sequence[TableRow], weights: Sequence[TableRow]
) -> str:
    return heading(title, subtitle, _facts(history, weights))


def _facts(history: Sequence[TableRow], weights: Sequence[TableRow]) -> list[tuple[str, str]]:
    """Build the row of figures that a reader looks for first."""
    if not history:
        return []
    seconds = sum(number(r.get("seconds")) or 0.0 for r in history)
    facts = [("epochs", str(len(history))), ("time", duration(seconds))]
    if weights:
        facts.append(("parameters", f"{sum(x['numbers'] for x in weights):,}"))
    facts.append(("last train loss", short(history[-1]["train_loss"])))
    for name, values in error_series(history).items():
        best = min((y for _, y in values if y is not None), default=None)
        facts.append((f"best error, {name}", short(best)))
    return facts


def _errors(
    rows: Sequence[TableRow], remarks: Sequence[str], warnings: Sequence[Diagnostic]
) -> str:
    return numbers(rows) + paragraphs(remarks) + "".join(map(_warning, warnings))


def _warning(diagnostic: Diagnostic) -> str:
    """Show a warning as the commands print it: the message, then notes and helps."""
    lines = [f"note: {x}" for x in diagnostic.notes] + [f"help: {x.text}" for x in diagnostic.helps]
    items = "".join(f"<li>{escape(x)}</li>" for x in lines)
    head = f"warning[{diagnostic.code}]: {diagnostic.message}"
    return f'<div class="warning"><p>{escape(head)}</p><ul>{items}</ul></div>'


def _samples(figures: SetFigures, *, first: bool) -> str:
    """Show the samples of a set; those of the first one are animated where they have a time."""
    if not figures.samples:
        return ""
    axes = dict.fromkeys(
        text
        for x in figures.samples
        for shown in (*x.inputs, *(y.truth for y in x.outputs))
        if (text := axes_text(shown))
    )
    remarks = [*figures.remarks, *(f"Axes: {x}." for x in axes)]
    note = f'<p class="note">{escape(" ".join(remarks))}</p>' if remarks else ""
    shown = "".join(sample_html(x, animated=first) for x in figures.samples)
    return f"<h3>{escape(figures.name)}</h3>{note}{shown}"


def _spectra(figures: SetFigures) -> list[tuple[str, str]]:
    when = " in the last step" if figures.steps else ""
    return [
        (
            f"{figures.name}, {x.name}: mean energy{when}",
            chart(x.lines, across=x.waves, log_across=True, dashed=("prediction",)),
        )
        for x in figures.spectra
    ]


def _steps(sets: Sequence[SetFigures]) -> tuple[str, str]:
    lines = {x.name: x.steps for x in sets if x.steps}
    return "relative L2 error", chart(lines, across="step", legend=len(lines) > 1)


def _plots(charts: Sequence[tuple[str, str]]) -> str:
    figures = "".join(figure(drawn, title) for title, drawn in charts if drawn)
    return f'<div class="plots">{figures}</div>' if figures else ""


def _diagram(svg: str) -> str:
    """Embed the SVG as an image, where its scripts and links have no effect.

    On narrow screens a wide diagram scrolls and does not shrink until its text cannot be read.
    """
    if not svg:
        return ""
    width = re.search(r'<svg[^>]{0,200}?width="(\d+)(pt|px)?', svg)
    least = f"min-width:{LEGIBLE * int(width[1]):.0f}{width[2] or 'px'}" if width else ""
    return figure(image(svg.encode(), "svg+xml", "diagram", style=least), plain=True)


def _weights(rows: Sequence[TableRow]) -> str:
    return numbers([{**x, "numbers": f"{x['numbers']:,}"} for x in rows])


def _settings(rows: Sequence[tuple[str, Any, str]]) -> str:
    """Tabulate the settings that somebody set; the defaults are folded away below."""
    heads = ("setting", "value", "from")
    chosen = [
        (key, setting_text(value), origin) for key, value, origin in rows if origin != "default"
    ]
    unset = [(key, setting_text(value)) for key, value, origin in rows if origin == "default"]
    details = (
        f"<details><summary>{len(unset)} defaults</summary>{table(heads[:2], unset)}</details>"
    )
    return table(heads, chosen) + (details if unset else "")


def _environment(rows: Mapping[str, Any]) -> str:
    return table(("", ""), rows.items())
