"""Modules in a tree by dotted paths, so that the weights of `u.lift` are named `u.lift.weight`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class CallsParts(Protocol):
    """A module that calls parts of it, each of which reads no weights but its own."""

    def called_parts(self) -> Iterable[nn.Module]:
        """Return these parts; one inside another one comes first."""


def called_parts(module: nn.Module) -> Iterable[nn.Module]:
    """Return the parts that a module calls; none where it does not know them."""
    return module.called_parts() if isinstance(module, CallsParts) else ()


class Branch(nn.Module):
    """A module that only holds others: a part of a path that computes nothing itself.

    Children go straight into `_modules` (see `place`), and attributes straight into the instance: a
    child may then be named `forward` or `training` without hiding torch's own attribute.
    """

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def train(self, mode: bool = True) -> Branch:
        """Set training or evaluation mode, also of modules that have a child named `training`."""
        for module in self.modules():
            module.__dict__["training"] = mode
        return self


def place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Register a module so that its weights are named `path.parameter`.

    Parts of the path that have no module yet become branches. A module whose path continues (`w`
    and `w.linear`) holds the modules below it beside its own.
    """
    *folders, name = path.split(".")
    for folder in folders:
        root = children(root).setdefault(folder, Branch())
    child = children(root).get(name, Branch())
    below, own = children(child), children(module)
    assert isinstance(child, Branch), f"`{path}` stands twice in the tree"
    assert not below.keys() & own.keys(), f"`{path}` and its module both name {[*own]}"
    own.update(below)
    children(root)[name] = module


def children(module: nn.Module) -> dict[str, nn.Module]:
    """Return the child modules by name, writable: `add_module` refuses a child named `forward`."""
    result: dict[str, nn.Module] = vars(module)["_modules"]
    return result


def module_at(root: nn.Module, path: str) -> nn.Module:
    """Return the module at a path; `get_submodule` would find an attribute of that name."""
    for name in path.split("."):
        root = children(root)[name]
    return root
