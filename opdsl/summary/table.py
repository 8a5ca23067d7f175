"""Summaries as tables for a terminal, and as JSON.

Exact numbers come first, rounded ones with a unit after them.
"""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import Any

from opdsl.ir.axes import Axis
from opdsl.ir.certificate import AxisPromise, Certificate
from opdsl.ir.dims import Poly
from opdsl.ir.spaces import Domain
from opdsl.summary.count import Summary, SummaryRow

GAP = "  "
INDENT = 14  # columns before the texts of the facts below the table
# (column, least width) in the order in which columns are narrowed; a column may occur twice
LEAST = ((3, 26), (4, 15), (0, 22), (3, 9))
UNITS = ("", " k", " M", " G", " T", " P")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def to_text(summary: Summary, width: int = 100) -> str:
    """Write the table, the totals and the certificate."""
    head = summary.model + (f"  {summary.doc}" if summary.doc else "")
    ports = [f"  input   {x}" for x in summary.inputs] + [f"  output  {x}" for x in summary.outputs]
    parts = [head, *ports, "", *_table(summary, width), "", *_totals(summary, width)]
    return "\n".join([*parts, "", certificate_text(summary.certificate, width)]) + "\n"


def certificate_text(certificate: Certificate, width: int = 100) -> str:
    """Write the promises of a model and their reasons."""
    lines = [f"certificate  {certificate.model}"]
    for _, promises in groupby(certificate.promises, key=lambda x: x.domain.name):
        lines += _domain(list(promises), width)
    lines += _fact("shape", "agnostic" if certificate.agnostic else "pinned", width)
    lines += _fact("convergent", _convergence(certificate), width)
    if certificate.convergent:
        lines += _fact("order", _order(certificate), width)
    at_ends = certificate.convergence.end_texts
    lines += [y for i, x in enumerate(at_ends) for y in _fact("" if i else "ends", x, width)]
    integrals = map(_integrals, certificate.measured)
    lines += [y for i, x in enumerate(integrals) for y in _fact("" if i else "integrals", x, width)]
    pinned = certificate.pinned or ("nothing",)
    lines += _fact("pinned", pinned[0], width)
    return "\n".join(lines + [y for x in pinned[1:] for y in _fact("", x, width)])


# ------------------------------------------------------------------ the table


def _table(summary: Summary, width: int) -> list[str]:
    cells = [_headings(summary), *(_cells(x, summary) for x in summary.rows)]
    columns = list(zip(*cells, strict=True))
    widths = _fitted([max(map(len, column)) for column in columns], width)
    lines = [_line(row, widths) for row in cells]
    rule = "-" * min(width, max(map(len, lines)))
    folded = any(x.times > 1 for x in summary.rows)
    note = ["a group ×n counts all of its n copies, the rows below it one"] if folded else []
    return [lines[0], rule, *lines[1:], rule, *note]


def _fitted(widths: list[int], width: int) -> list[int]:
    """Fit the widths of the columns: first formulas and then names are cut."""
    fitted = list(widths)
    for column, least in LEAST:
        spare = width - sum(fitted) - len(GAP) * (len(fitted) - 1)
        fitted[column] = min(widths[column], max(least, fitted[column] + spare))
    return fitted


def _headings(summary: Summary) -> tuple[str, ...]:
    return ("operation", "space", "params", "FLOP" if summary.sizes else "FLOP (formula)", "memory")


def _cells(row: SummaryRow, summary: Summary) -> tuple[str, ...]:
    details = f"  {', '.join(row.details)}" if row.details else ""
    return (
        f"{'  ' * row.level}{row.title}{details}",
        row.space,
        f"{row.params:,}" if row.params else "",
        _amount(row.flops, summary),
        _bytes(row.bytes, summary),
    )


def _amount(formula: Poly, summary: Summary) -> str:
    number = summary.number(formula)
    if number is None:
        return str(formula) if formula.terms else ""
    return f"{number:,}" if number else ""


def _bytes(formula: Poly, summary: Summary) -> str:
    number = summary.number(formula)
    return f"{formula} B" if number is None else memory(number)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    texts = [_cut(x, n) for x, n in zip(cells, widths, strict=True)]
    right = [f"{x:>{n}}" for x, n in zip(texts[2:], widths[2:], strict=True)]
    left = [f"{x:<{n}}" for x, n in zip(texts[:2], widths[:2], strict=True)]
    return GAP.join([*left, *right]).rstrip()


def _cut(text: str, width: int) -> str:
    """Return the text or its beginning; of a sum as many whole terms as fit."""
    if len(text) <= width:
        return text
    start = text[: width - 1]
    whole, plus, _ = start.rpartition(" + ")
    return f"{whole}{plus}…" if plus else f"{start}…"


# ------------------------------------------------------------------ the totals


def _totals(summary: Summary, width: int) -> list[str]:
    at = summary.at or {}
    where = ", ".join(f"{name} at {'×'.join(map(str, size))}" for name, size in at.items())
    pairs = summary.complex_params
    complex_ = f"; {2 * pairs:,} of them are {pairs:,} complex ones" if pairs else ""
    facts = {
        "parameters": f"{summary.params:,} real numbers{_short(summary.params)}{complex_}",
        "forward": _total(summary, summary.flops, "FLOP"),
        "memory": _total(summary, summary.bytes, "B") + " of results in float32",
        "for": f"one sample{', ' if where else ''}{where}",
    }
    return [line for name, text in facts.items() for line in _fact(name, text, width)]


def _total(summary: Summary, formula: Poly, unit: str) -> str:
    number = summary.number(formula)
    if number is None:
        return f"{formula or 0} {unit}"
    short = f" ({memory(number)})" if unit == "B" else f" ({human(number)}{unit})"
    return f"{number:,} {unit}{short}"


def _short(number: int) -> str:
    return f" ({human(number).strip()})" if number >= 1000 else ""


def human(number: float) -> str:
    """Write a number with a prefix: `3.4 G` for 3400000000, with a space before the unit."""
    power = 0
    while number >= 999.95 and power < len(UNITS) - 1:  # 999.95 would be written as 1000.0
        number, power = number / 1000, power + 1
    return f"{number:.1f}{UNITS[power]}" if power else f"{number:.0f} "


def memory(number: float) -> str:
    """Write bytes with a unit: `1.5 MiB` for 1572864."""
    power = 0
    while number >= 1023.95 and power < len(BINARY) - 1:  # as in `human`
        number, power = number / 1024, power + 1
    return f"{number:.1f} {BINARY[power]}" if power else f"{number:.0f} B"


# ------------------------------------------------------------- the certificate


def _fact(name: str, text: str, width: int) -> list[str]:
    """Write `name  text` on as many lines as the text needs."""
    lines = textwrap.wrap(text, width - INDENT, break_long_words=False, break_on_hyphens=False)
    names = [name, *[""] * (len(lines) - 1)]
    return [f"  {x:<{INDENT - 2}}{y}" for x, y in zip(names, lines, strict=True)]


def _domain(promises: list[AxisPromise], width: int) -> list[str]:
    """Write what the program promises for a domain, and what the operators need."""
    domain = promises[0].domain
    accepted = ", ".join(_accepted(x.axis) for x in promises)
    causes = {x.cause.text: x.cause for x in promises if x.cause}
    needs = (f"{x.points} needed: {x.text}  ({x.place})" for x in causes.values())
    noun = "points" if domain.scattered else "sphere" if domain.kind == "sphere" else "grid"
    facts = [("domain", f"{domain}: any {noun} with {accepted}"), *(("", x) for x in needs)]
    return [line for name, text in facts for line in _fact(name, text, width)]


def _accepted(axis: Axis) -> str:
    if axis.pinned:
        return f"{axis.name} = {axis.least}"
    text = f"{axis.name} >= {axis.least}"
    text += f", {axis.name} <= {axis.max}" if axis.max is not None else ""
    return text + (f", {axis.name} a multiple of {axis.multiple_of}" * (axis.multiple_of > 1))


INTEGRALS = {
    "given": "by the weights or the cells that come with its points",
    "voronoi": "by the Voronoi cells of its points, unless weights or cells come with them",
    "density": "by the density of its points, unless weights or cells come with them",
    "uniform": "are means over its points: uniform weights, unless weights or cells come with them",
}


def _integrals(domain: Domain) -> str:
    """Write how integrals over a domain are weighted."""
    return f"on {domain} {INTEGRALS[domain.measure or 'uniform']}"


def _convergence(certificate: Certificate) -> str:
    if certificate.convergent:
        return f"yes, all {certificate.operators} operators converge under refinement"
    if not certificate.diverging:
        return "no, one resolution only is accepted"
    node, why = certificate.diverging[0]
    rest = len(certificate.diverging) - 1
    others = f", and {rest} more" if rest else ""
    span = node.spans[0]
    return f"no, `{node.path}` {why}  ({span.source.name}:{span.line}){others}"


def _order(certificate: Certificate) -> str:
    order = certificate.convergence
    return order.text + (f"  ({order.place})" if order.place else "")


# ----------------------------------------------------------------------- JSON


def to_json(summary: Summary) -> dict[str, Any]:
    """Return formulas as text, and numbers if there is a resolution."""
    certificate = summary.certificate
    return {
        "model": summary.model,
        "doc": summary.doc,
        "inputs": list(summary.inputs),
        "outputs": list(summary.outputs),
        "at": None if summary.at is None else {k: list(v) for k, v in summary.at.items()},
        "total": _counts(summary, summary),
        "rows": [_row_json(x, summary) for x in summary.rows],
        "certificate": {
            "axes": [_axis_json(x) for x in certificate.promises],
            "agnostic": certificate.agnostic,
            "convergent": certificate.convergent,
            "pinned": list(certificate.pinned),
            "diverging": [{"path": x.path, "reason": why} for x, why in certificate.diverging],
            "operators": certificate.operators,
            **certificate.convergence.to_json(),
            "measures": {x.name: x.measure for x in certificate.measured},
        },
    }


def _counts(item: SummaryRow | Summary, summary: Summary) -> dict[str, Any]:
    return {
        "params": item.params,
        "complex_params": item.complex_params,
        "flops": {"formula": str(item.flops), "number": summary.number(item.flops)},
        "bytes": {"formula": str(item.bytes), "number": summary.number(item.bytes)},
    }


def _row_json(row: SummaryRow, summary: Summary) -> dict[str, Any]:
    return {
        "path": row.path,
        "title": row.title,
        "details": list(row.details),
        "level": row.level,
        "group": row.group,
        "times": row.times,
        "space": row.space,
        **_counts(row, summary),
    }


def _axis_json(promise: AxisPromise) -> dict[str, Any]:
    cause = promise.cause
    return {
        "domain": promise.domain.name,
        "axis": promise.axis.name,
        "least": promise.axis.least,
        "max": promise.axis.max,
        "multiple_of": promise.axis.multiple_of,
        "pinned": promise.axis.pinned,
        "needed": promise.needed,
        "because": cause.text if cause else None,
        "place": cause.place if cause else None,
    }
