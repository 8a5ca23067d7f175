"""The settings of a run with their origins, as `opdsl train --print-config` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opdsl.cli.console import result, show_json, table

if TYPE_CHECKING:
    from opdsl.train.config.settings import ResolvedSettings
    from opdsl.workflow.programs.program import Program


def show_settings(program: Program, resolved: ResolvedSettings, *, as_json: bool) -> None:
    """Print the parameters of the model, then the settings, each with its origin."""
    from opdsl.workflow.programs.program import used_settings

    origins = program.origins
    spec = program.source.name
    rows = [(f"model.{k}", v, origins.get(k, spec)) for k, v in program.graph.params.items()]
    rows += used_settings(resolved)
    if as_json:
        show_json([{"key": k, "value": v, "origin": o} for k, v, o in rows])
    else:
        result(table([(k, f"= {_shown(v)}", f"# {o}") for k, v, o in rows], left=3))


def _shown(value: Any) -> str:
    """Return the value as a program would write it."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(map(_shown, value))}]"
        case tuple():
            return f"({', '.join(map(_shown, value))})"
        case float():
            return f"{value:g}"
    return str(value)
