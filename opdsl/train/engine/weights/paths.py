"""Weights of a module by paths that a user writes: which belong to a group, which are frozen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.train.config.optimization import ParameterGroup
from opdsl.train.config.paths import matches
from opdsl.train.config.schema import Settings

SHOWN = 8  # parts of the model that a message lists


def any_matches(paths: Iterable[str], name: str) -> bool:
    """Return whether one of the paths matches."""
    return any(matches(x, name) for x in paths)


def refuse_unknown_paths(module: nn.Module, settings: Settings) -> None:
    """Refuse paths in the settings that name no part of the module, before the first step.

    Raises:
        OpError: OP0730.
    """
    weights = [name for name, _ in module.named_parameters()]
    refuse_unknown("freeze", settings.freeze, weights)
    for group, x in settings.weight_groups.items():
        refuse_unknown(f"groups.{group}.paths", x.paths, weights)
    if isinstance(settings.recompute, list):
        parts = [name for name, _ in module.named_modules()]
        refuse_unknown("recompute", settings.recompute, parts)


def freeze(module: nn.Module, settings: Settings) -> None:
    """Let weights stay as they are.

    Raises:
        OpError: OP0730, a path names no weight, or no weight is left.
    """
    paths = settings.freeze
    if not paths:
        return
    refuse_unknown_paths(module, settings)
    for name, p in module.named_parameters():
        if any_matches(paths, name):
            p.requires_grad = False
    if not any(p.requires_grad for p in module.parameters()):
        message = "`freeze` leaves no weight that could be learnt"
        raise fault("OP0730", message, helps=("name fewer parts of the model",))


def parameters_of(
    module: nn.Module, settings: Settings
) -> Iterable[nn.Parameter] | list[dict[str, Any]]:
    """Return the weights as an optimizer takes them: all alike, or in groups.

    A group has the factor on its learning rate as `rate`, and its own `weight_decay` if it has one.

    Raises:
        OpError: OP0730, a path names no weight.
    """
    groups = settings.weight_groups
    if not groups:
        return module.parameters()
    refuse_unknown_paths(module, settings)
    named = dict(module.named_parameters())
    owner: dict[str, str] = {}
    for group, x in groups.items():
        owner |= {name: group for name in named if any_matches(x.paths, name)}
    result: list[dict[str, Any]] = []
    for group, x in {"": ParameterGroup(), **groups}.items():
        weights = [p for name, p in named.items() if owner.get(name, "") == group]
        decay = {} if x.decay is None else {"weight_decay": x.decay}
        if weights:
            result.append({"params": weights, "rate": x.rate, **decay})
    return result


def refuse_unknown(setting: str, paths: Sequence[str], names: Sequence[str]) -> None:
    """Refuse paths that match no name.

    Raises:
        OpError: OP0730, naming the first of them.
    """
    for path in paths:
        if not any(matches(path, name) for name in names):
            raise _unknown(setting, path, names)


def _unknown(setting: str, path: str, names: Sequence[str]) -> OpError:
    parts = list(dict.fromkeys(part for name in names for part in name.split(".")))
    known = ", ".join(f"`{x}`" for x in parts[:SHOWN]) + (", ..." if len(parts) > SHOWN else "")
    misspelt = next((x for x in path.split(".") if x not in parts), path)
    return fault(
        "OP0730",
        f"`{setting}` names `{path}`, and no part of the model has such a path",
        notes=(f"one of them is `{names[-1]}`",) if names else ("the model has no weights",),
        helps=(*did_you_mean(misspelt, parts), f"parts of paths are {known}"),
    )
