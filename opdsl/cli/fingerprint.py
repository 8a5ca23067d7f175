"""`opdsl fingerprint`: what a model is, in one word."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from opdsl.cli.console import result, show_json
from opdsl.cli.options import Json, Model, Parameters, Spec

if TYPE_CHECKING:
    from opdsl.cli.programs import Program


def command(
    spec: Spec, model: Model = None, sets: Parameters = None, as_json: Json = False
) -> None:
    """Print the fingerprint of a model.

    Equal for programs that mean the same function of the same weights: names, comments, the order
    of statements and promised resolutions do not count. With --json also that of the run, which
    includes the settings of the train block.

    Example: opdsl fingerprint specs/fno_darcy.op
    """
    from opdsl.cli.programs import open_model
    from opdsl.ir.fingerprint import SCHEME, fingerprint

    program = open_model(spec, model, sets)
    found = fingerprint(program.graph)
    if as_json:
        run = _run(program, found)
        show_json({"model": program.graph.name, "scheme": SCHEME, "function": found, "run": run})
    else:
        result(found)


def _run(program: Program, function: str) -> str:
    """sha256 of the function and every setting of its run, those left at their defaults too."""
    from opdsl.cli.programs import resolved

    rows = [[key, value] for key, value, _ in resolved(program).explain()]
    return hashlib.sha256(json.dumps([function, rows]).encode()).hexdigest()
