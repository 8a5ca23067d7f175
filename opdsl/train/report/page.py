"""report.html: a whole run on one page that opens without a network.

Every text is escaped, every picture is a data URI, and the page forbids itself scripts and foreign
content.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.diagnostics import Diagnostic, fault
from opdsl.files import write_whole
from opdsl.train.report.pictures import Cloud, Panel, curves_svg, fields_png
from opdsl.train.report.style import PAGE, STYLE

TableRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """A test sample: arrays (*grid) or (points,), one channel each, in physical units.

    Attributes:
        name: what is shown, `sample 3, u`.
        truth: what should come out.
        prediction: what came out.
        error: their difference; computed if not given.
        inputs: what went in, by name.
        clouds: where the points are, of the inputs and the output that are on points, by name.
        output: the name of the output.
    """

    name: str
    truth: NDArray[Any]
    prediction: NDArray[Any]
    error: NDArray[Any] | None = None
    inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    clouds: Mapping[str, Cloud] = field(default_factory=dict)
    output: str = ""

    def panels(self) -> list[Panel]:
        """Return inputs, truth, prediction and error with their headings."""
        error = self.error if self.error is not None else self.prediction - self.truth
        ends = (("truth", self.truth), ("prediction", self.prediction), ("error", error))
        panels = [
            Panel(f"input {k}", np.asarray(v), self.clouds.get(k)) for k, v in self.inputs.items()
        ]
        return panels + [Panel(k, np.asarray(v), self.clouds.get(self.output)) for k, v in ends]


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
    table: Sequence[TableRow] = (),
    remarks: Sequence[str] = (),
    warnings: Sequence[Diagnostic] = (),
    selection: Sequence[str] = (),
    changes: Sequence[TableRow] = (),
    pictures: Sequence[Picture] = (),
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
        table: one mapping for each resolution; its keys are the headings.
        remarks: sentences on cells of the table without a number.
        warnings: about the errors in the table.
        selection: sentences on which data chose the weights and which only measured them.
        changes: settings that changed while the run went on; their keys are the headings.
        pictures: test samples to look at.
        environment: versions, device, fingerprints ...
    """
    sections = (
        ("", _head(title, subtitle, history)),
        ("Errors by resolution", _errors(table, remarks, warnings) + _sentences(selection)),
        ("Learning curves", _curves(history)),
        ("Test samples", "".join(map(_picture, pictures))),
        ("Model", _diagram(diagram_svg)),
        ("Certificate", _pre(certificate)),
        ("Program", _pre(spec)),
        ("Settings", _settings(settings_rows)),
        ("Settings that changed while the run went on", _numbers(changes)),
        ("Environment", _rows(("", ""), (environment or {}).items())),
    )
    body = "\n".join(_section(heading, content) for heading, content in sections if content)
    page = PAGE.format(title=escape(title), style=STYLE, body=body)
    try:
        write_whole(path, page.encode())
    except OSError as error:
        message = f"the report could not be written: {(error.strerror or str(error)).lower()}"
        raise fault("OP0625", message, file=str(path)) from error
    return path


def _section(heading: str, content: str) -> str:
    return f"<h2>{heading}</h2>\n{content}" if heading else content


def _head(title: str, subtitle: str, history: Sequence[TableRow]) -> str:
    text = f"<h1>{escape(title)}</h1>"
    text += f'<p class="subtitle">{escape(subtitle)}</p>' if subtitle else ""
    facts = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in _facts(history))
    return text + (f'<dl class="facts">{facts}</dl>' if facts else "")


def _facts(history: Sequence[TableRow]) -> list[tuple[str, str]]:
    """Build the row of figures that a reader looks for first."""
    if not history:
        return []
    facts = [("epochs", str(len(history))), ("time", _time(sum(r["seconds"] for r in history)))]
    facts.append(("last train loss", _short(history[-1]["train_loss"])))
    for name, values in error_series(history).items():
        best = min((y for _, y in values if y is not None), default=None)
        facts.append((f"best error, {escape(name)}", _short(best)))
    return facts


def error_series(history: Sequence[TableRow]) -> dict[str, list[tuple[int, float | None]]]:
    """Return the points (epoch, relative L2 error) on the validation data.

    Runs of earlier versions have errors on test data there, by the names of the sets.
    """
    series: dict[str, list[tuple[int, float | None]]] = {}
    for row in history:
        errors_by_set = {f"test {k}": x for k, x in (row.get("tests") or {}).items()}
        errors_by_set |= {"validation": row["valid"]} if row.get("valid") else {}
        for name, errors in errors_by_set.items():
            series.setdefault(name, []).append((row["epoch"], errors["rel_l2"]))
    return series


def _curves(history: Sequence[TableRow]) -> str:
    if not history:
        return ""
    lines = {"train loss": [(row["epoch"], row["train_loss"]) for row in history]}
    lines |= {f"{name}, rel. L2": line for name, line in error_series(history).items()}
    return f"<figure>{_image(curves_svg(lines), 'svg+xml', 'loss against epoch')}</figure>"


def _errors(
    table: Sequence[TableRow], remarks: Sequence[str], warnings: Sequence[Diagnostic]
) -> str:
    return _numbers(table) + _sentences(remarks) + "".join(map(_warning, warnings))


def _warning(diagnostic: Diagnostic) -> str:
    """Show a warning as the commands print it: the message, then notes and helps."""
    lines = [f"note: {x}" for x in diagnostic.notes] + [f"help: {x.text}" for x in diagnostic.helps]
    items = "".join(f"<li>{escape(x)}</li>" for x in lines)
    head = f"warning[{diagnostic.code}]: {diagnostic.message}"
    return f'<div class="warning"><p>{escape(head)}</p><ul>{items}</ul></div>'


def _sentences(texts: Sequence[str]) -> str:
    return "".join(f"<p>{escape(x)}</p>" for x in texts)


def _picture(picture: Picture) -> str:
    png = fields_png(picture.panels())
    caption = f"<figcaption>{escape(picture.name)}</figcaption>"
    return f'<figure class="plain">{caption}{_image(png, "png", picture.name)}</figure>'


def _diagram(svg: str) -> str:
    """Embed the SVG as an image, where its scripts and links have no effect."""
    if not svg:
        return ""
    return f'<figure class="plain">{_image(svg.encode(), "svg+xml", "diagram")}</figure>'


def _image(data: bytes, kind: str, words: str) -> str:
    encoded = base64.b64encode(data).decode()
    return f'<img alt="{escape(words)}" src="data:image/{kind};base64,{encoded}">'


def _pre(text: str) -> str:
    return f"<pre>{escape(text.strip())}</pre>" if text.strip() else ""


def _settings(rows: Sequence[tuple[str, Any, str]]) -> str:
    """Tabulate the settings that somebody set; the defaults are folded away below."""
    heads = ("setting", "value", "from")
    chosen = [(key, _value(value), origin) for key, value, origin in rows if origin != "default"]
    unset = [(key, _value(value)) for key, value, origin in rows if origin == "default"]
    details = (
        f"<details><summary>{len(unset)} defaults</summary>{_rows(heads[:2], unset)}</details>"
    )
    return _rows(heads, chosen) + (details if unset else "")


def _value(value: Any) -> str:
    """Format a value as a program would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)


def _numbers(table: Sequence[TableRow]) -> str:
    if not table:
        return ""
    heads = tuple(dict.fromkeys(key for row in table for key in row))
    rows = [[_cell(row.get(head)) for head in heads] for row in table]
    return _rows(heads, rows, kind="numbers")


def _rows(heads: Sequence[str], rows: Iterable[Sequence[Any]], kind: str = "") -> str:
    body = "".join(f"<tr>{''.join(map(_td, row))}</tr>" for row in rows)
    if not body:
        return ""
    top = "".join(f"<th>{escape(_words(head))}</th>" for head in heads)
    head = f"<thead><tr>{top}</tr></thead>" if any(heads) else ""
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>'


def _td(cell: Any) -> str:
    return f"<td>{escape(str(cell))}</td>"


def _words(key: str) -> str:
    """Convert a key to words: `rel_l2` to `rel. L2`, others with spaces for underscores."""
    names = {"rel_l2": "rel. L2", "rel_h1": "rel. H1", "rmse": "RMSE", "max_error": "max error"}
    return names.get(key, key.replace("_", " "))


def _cell(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " × ".join(map(str, value))
    return _short(value) if value is None or isinstance(value, float) else str(value)


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
