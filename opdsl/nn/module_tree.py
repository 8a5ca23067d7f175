"""Modules in a tree by dotted paths, so that the weights of `u.lift` are named `u.lift.weight`."""

from __future__ import annotations

from torch import nn


class Branch(nn.Module):
    """A folder of modules: a part of a path that computes nothing itself.

    Children go straight into `_modules` (see `place`), and attributes straight into the instance: a
    child may then be named `forward` or `training`, and hides nothing of torch's.
    """

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def train(self, mode: bool = True) -> Branch:
        """Set training or evaluation; also of modules that have a child named `training`."""
        for module in self.modules():
            module.__dict__["training"] = mode
        return self


def place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module where its weights are named `path.parameter`.

    Parts of the path that are no modules become branches. A module whose path goes on (`w` and
    `w.linear`) holds the modules below it beside its own.
    """
    *folders, name = path.split(".")
    for folder in folders:
        root = children(root).setdefault(folder, Branch())
    met = children(root).get(name, Branch())
    below, own = children(met), children(module)
    assert isinstance(met, Branch), f"`{path}` stands twice in the tree"
    assert not below.keys() & own.keys(), f"`{path}` and its module both name {[*own]}"
    own.update(below)
    children(root)[name] = module


def children(module: nn.Module) -> dict[str, nn.Module]:
    """The modules directly below; `add_module` would refuse a child named `forward`."""
    found: dict[str, nn.Module] = vars(module)["_modules"]
    return found


def module_at(root: nn.Module, path: str) -> nn.Module:
    """The module that stands there; `get_submodule` would find an attribute of that name."""
    for name in path.split("."):
        root = children(root)[name]
    return root
