"""The error that compares runs: the one that chose their best weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCORES = ("pinball", "rel_l2")  # errors that choose weights, the first that a row has


def score_of(errors: Mapping[str, Any]) -> float | None:
    """Return the error in a row of validation that chooses the best weights."""
    return next((x for name in SCORES if (x := number(errors.get(name))) is not None), None)


def number(value: object) -> float | None:
    """Return a number of a file, None for anything else: a stranger may have written it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None
