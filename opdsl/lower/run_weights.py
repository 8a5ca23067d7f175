"""Weights of a whole run, which a module without a normaliser must not load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opdsl.diagnostics import fault

NORMALISER = "normaliser"  # beside `module` in the weights of a run


def refuse_weights_of_run(model: str, state: Mapping[str, Any], prefix: str) -> None:
    """Refuse the weights of a whole operator: without its normaliser they mean something else.

    Args:
        model: the name of the model.
        state: the weights by name.
        prefix: of the names that belong to the module.

    Raises:
        OpError: OP0920.
    """
    start = f"{prefix}{NORMALISER}."
    if not any(x.startswith(start) for x in state):
        return
    note = f"the run has the module as `{prefix}module.*` and the means and deviations of its "
    note += f"data as `{start}*`; without these the outputs would be in other units"
    raise fault(
        "OP0920",
        "these are the weights of a trained run, and this module has no normaliser",
        notes=(note,),
        helps=(
            'open the run: `opdsl.open_run("RUN").operator` takes and gives physical values',
            "its `module` is the module alone, with normalised values",
        ),
        file=model,
    )
