"""The error that compares runs: the one that chose their best weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCORES = ("pinball", "rel_l2")  # errors that choose weights, the first that a row has


def score_of(errors: Mapping[str, Any]) -> float | None:
    """Return the error in a row of validation that chooses the best weights."""
    return next((float(errors[x]) for x in SCORES if errors.get(x) is not None), None)
