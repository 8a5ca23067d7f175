"""Values given from outside a program, and the settings of a run among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opdsl.setting import Setting

MODEL = "model"  # `model.width` is a parameter of the model, all else a setting of the run


def assignments(overrides: Iterable[Setting], models: Sequence[str]) -> list[Setting]:
    """The settings among the overrides."""
    return [x for x in overrides if x.path[0] not in {MODEL, *models}]
