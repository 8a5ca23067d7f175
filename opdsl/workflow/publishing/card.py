"""The model card: what a published model computes, from which data, with which errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opdsl.ir.certificate import certify
from opdsl.ir.graph import Graph, Port
from opdsl.summary.table import certificate_text
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import ResolvedSettings
from opdsl.workflow.programs.program import used_settings
from opdsl.workflow.publishing.manifest import FileHash
from opdsl.workflow.report.run_report import selection
from opdsl.workflow.runs.splits import SPLITS

DIAGRAM = "diagram.svg"
HEADS = {
    "split": "data",
    "set": "set",
    "samples": "samples",
    "rel_l2": "rel. L2",
    "rel_h1": "rel. H1",
    "rmse": "RMSE",
    "max_error": "max error",
}
FRONT = """---
library_name: opdsl
tags:
- neural-operator
- pde
- opdsl
---
"""


def card(
    graph: Graph,
    resolved: ResolvedSettings,
    about: Mapping[str, Any],
    weights: int,
    program: str,
    files: Mapping[str, FileHash],
) -> str:
    """Write the model card as Markdown.

    Args:
        graph: the model.
        resolved: the settings of its training.
        about: the content of `opdsl.json`.
        weights: how many real numbers the model has.
        program: the text of the program.
        files: the files of the folder, the card left out.
    """
    title = f"# {graph.name}" + (f": {_plain(graph.doc)}" if graph.doc else "")
    picture = [f"![The graph of {graph.name}]({DIAGRAM})", ""] if DIAGRAM in files else []
    default = dict(Settings().rows())
    changed = [(k, str(v)) for k, v, _ in used_settings(resolved) if v != default[k]]
    parts = [
        FRONT + title,
        "",
        f"A neural operator with {weights:,} weights, trained by opdsl.",
        "",
        *picture,
        *_usage(graph),
        "## Inputs and outputs",
        "",
        "Values are in the physical units of the training data.",
        "",
        *_table(("", "name", "space", "channels", ""), _ports(graph)),
        *_errors(about),
        *_data(about),
        "## Resolutions",
        "",
        "```text",
        certificate_text(certify(graph)),
        "```",
        "",
        "## Training",
        "",
        *_table(("setting", "value"), changed),
        "Other settings have their defaults; `settings.yaml` has all of them.",
        _versions(about),
        "",
        "## Program",
        "",
        *_fenced(program),
        "",
        "## Files",
        "",
        "`opdsl.from_pretrained` compares each file with its hash, and runs no code of the folder.",
        "",
        *_table(
            ("file", "bytes", "SHA-256"),
            [(k, f"{x.size:,}", f"`{x.sha256}`") for k, x in files.items()],
        ),
    ]
    return "\n".join(parts)


def _usage(graph: Graph) -> list[str]:
    names = ", ".join(x.name for x in graph.inputs)
    shapes = [f"# {x.name}: {_shape(x)}" for x in graph.inputs]
    return [
        "## Use",
        "",
        "```python",
        "import opdsl",
        "",
        'run = opdsl.from_pretrained("FOLDER")',
        *shapes,
        f"prediction = run.predict({names})",
        "```",
        "",
    ]


def _shape(port: Port) -> str:
    """Return the shape of an input as users pass it."""
    domain, channels = port.space.domain, str(port.space.channels)
    axes = [x.name for x in domain.axes] if domain.kind == "grid" else []
    return f"({', '.join(['batch', channels, *axes])}{', ...' * (not axes)})"


def _ports(graph: Graph) -> list[tuple[str, ...]]:
    rows = [("input", x) for x in graph.inputs] + [("output", x) for x in graph.outputs]
    return [
        (
            kind,
            f"`{x.name}`",
            f"`{x.space}`",
            ", ".join(x.space.components or ()),
            _plain(x.doc),
        )
        for kind, x in rows
    ]


def _errors(about: Mapping[str, Any]) -> list[str]:
    end = about.get("finished")
    if not end:
        return ["## Errors", "", "The training of these weights was not finished.", ""]
    rows = [*end["valid"], *end["tests"]]
    shown = {k: v for k, v in HEADS.items() if any(x.get(k) is not None for x in rows)}
    cells = [[_number(x.get(k), k) for k in shown] for x in rows]
    sentences = selection(str(about["data"].get("choice", "unknown")), end)
    return ["## Errors", "", " ".join(sentences), "", *_table([*shown.values()], cells)]


def _number(value: Any, key: str) -> str:
    if key == "split":
        return SPLITS.get(str(value), str(value))
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else _plain(value)


def _data(about: Mapping[str, Any]) -> list[str]:
    data = about["data"]
    rows = [
        ("training data", data["path"]),
        ("samples", data["samples"]),
        ("resolution", "x".join(map(str, data.get("resolution") or ())) or "-"),
        ("SHA-256 of the samples", data.get("fingerprint")),
        *(("test data", x["path"]) for x in data.get("tests", [])),
    ]
    return ["## Data", "", *_table(("", ""), [(k, _plain(v)) for k, v in rows])]


def _versions(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    return f"Trained with {versions}; fingerprint of the graph `{about['fingerprint']}`."


def _fenced(program: str) -> list[str]:
    """Fence a program by more backquotes than it contains in a row."""
    fence = "```"
    while fence in program:
        fence += "`"
    return [f"{fence}op", program.rstrip("\n"), fence]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [*(f"| {' | '.join(_cell(x) for x in line)} |" for line in lines), ""]


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")


def _plain(text: object) -> str:
    """Write a text in one line, without signs that Markdown or HTML would interpret."""
    line = " ".join(str(text or "").split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace("[", "\\[").replace("`", "\\`")
