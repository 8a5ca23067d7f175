"""Where and of what a run was made: versions, machine, data, fingerprints, sizes of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.train.config.schema import Settings
from opdsl.workflow.folder.writing import machine, versions

MOST = 40  # rows of nodes


def environment(graph: Graph, settings: Settings, about: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of a run as it was when it began, in words.

    Args:
        graph: the model.
        settings: of the run.
        about: the content of `opdsl.json`; what it lacks is that of this process.
    """
    data = _mapping(about.get("data"))
    size = " x ".join(map(str, data.get("resolution") or ()))
    parts = {
        **(_mapping(about.get("versions")) or versions()),
        **(_mapping(about.get("machine")) or machine(settings.device)),
        "precision": settings.precision,
        "seed": settings.seed,
        "training data": data.get("path"),
        "training samples": f"{data.get('samples')}{f' at {size}' if size else ''}"
        if data
        else None,
        "fingerprint of the data": data.get("fingerprint"),
        "fingerprint of the model": fingerprint(graph),
    }
    return {k: str(v) for k, v in parts.items() if v is not None}


def _mapping(value: object) -> dict[str, Any]:
    """Return a mapping as it is, and an empty one for everything else: the file may be foreign."""
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def weight_rows(graph: Graph) -> list[dict[str, Any]]:
    """Return the trained numbers of the parts of a model, in the order of the program."""
    from opdsl.summary import summarise

    summary = summarise(graph)
    total = max(summary.params, 1)
    rows = [x for x in summary.rows if x.level == 0 and x.params]
    return [
        {
            "node": x.path,
            "block": x.title,
            "numbers": int(x.params),
            "share": f"{100 * x.params / total:.1f} %",
        }
        for x in rows[:MOST]
    ]
