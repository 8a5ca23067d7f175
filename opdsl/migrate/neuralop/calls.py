"""Constructor calls of neuraloperator, from wherever they are written.

    a text        FNO(n_modes = (16, 16), in_channels = 1, out_channels = 1, hidden_channels = 32)
    a config      YAML or JSON with `model_arch`, at the top or under `model`
    a module      what its class keeps of its arguments
    a checkpoint  the `_metadata` among its weights

The last two also give weights. Nothing that is read is ever run: a call is parsed as literals, a
checkpoint is loaded as weights only, and the functions and classes that it names become stand-ins,
which know their name and do nothing.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.files import open_regular, read_text
from opdsl.memory import free_memory
from opdsl.migrate.neuralop.architectures import ARCHITECTURES
from opdsl.migrate.neuralop.draft import BOOKKEEPING, ConstructorCall
from opdsl.plain_yaml import LARGEST as LARGEST_CONFIG
from opdsl.plain_yaml import refuse_traps
from opdsl.safe_pt import inspect

if TYPE_CHECKING:
    from torch import Tensor

StateDict = Mapping[str, "Tensor"]
ARCHES = ("model_arch", "arch", "_name")
MOST_LAYERS = 1000


def read_call(text: str) -> ConstructorCall:
    """A call as it stands in a Python program; its arguments are literals or plain names.

    Raises:
        OpError: OP0642.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise unreadable_call(text, "it is no expression") from error
    if not isinstance(node, ast.Call):
        raise unreadable_call(text, "it is no call")
    return _call(node, text)


def _call(node: ast.Call, text: str) -> ConstructorCall:
    name = known_name(_dotted(node.func, text))
    args = tuple(_literal(x, text) for x in node.args)
    named = {}
    for x in node.keywords:
        if x.arg is None:
            raise unreadable_call(text, "`**` hides the arguments")
        named[x.arg] = _literal(x.value, text)
    return ConstructorCall(name, args, named)


def read_config(path: Path) -> ConstructorCall:
    """The model of a config file, YAML or JSON.

    Raises:
        OpError: OP0642.
    """
    import yaml

    try:
        text = read_text(path, LARGEST_CONFIG)
        refuse_traps(text)
        data = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise fault(
            "OP0642", "this config cannot be read as YAML or JSON", file=str(path)
        ) from error
    return call_of(data, str(path))


def call_of(data: object, where: str) -> ConstructorCall:
    """The model of a config: `model_arch` and the constructor's arguments.

    Raises:
        OpError: OP0642.
    """
    found = data.get("model", data) if isinstance(data, Mapping) else data
    arch = (
        next((found[x] for x in ARCHES if x in found), None) if isinstance(found, Mapping) else None
    )
    if not isinstance(found, Mapping) or not isinstance(arch, str):
        raise fault(
            "OP0642",
            "this config names no model",
            helps=("it has `model_arch`, at the top or under `model`",),
            file=where,
        )
    named = {k: x for k, x in found.items() if k not in ARCHES}
    if "data_channels" in named:  # what its own `get_model` calls them
        named["in_channels"] = named.pop("data_channels")
    return ConstructorCall(known_name(arch), (), named)


def call_of_module(module: Any) -> ConstructorCall:
    """The call that made a module.

    Raises:
        OpError: OP0641, its class is not one of those that are known.
    """
    kind = type(module)
    name = next((x.__name__ for x in kind.__mro__ if x.__name__ in ARCHITECTURES), None)
    if name is None:
        raise unknown_model(kind.__name__)
    arguments = ARCHITECTURES[name].arguments
    if arguments is not None:
        return ConstructorCall(name, (), arguments(module))
    return call_of_kept(name, module._init_kwargs)  # noqa: SLF001  where it keeps them


def call_of_kept(name: str, kept: Mapping[str, Any]) -> ConstructorCall:
    """The call, from the arguments that a class keeps or a checkpoint holds."""
    named = {k: x for k, x in kept.items() if k not in BOOKKEEPING}
    return ConstructorCall(name, tuple(kept.get("args", ())), named)


def known_name(name: str) -> str:
    """The class, however its letters are written.

    Raises:
        OpError: OP0641.
    """
    for known in ARCHITECTURES:
        if known.lower() == name.lower():
            return known
    raise unknown_model(name)


def unknown_model(name: str) -> OpError:
    """OP0641."""
    known = list(ARCHITECTURES)
    helps = did_you_mean(name, known) or (f"known: {', '.join(known)}",)
    return fault(
        "OP0641", f"`{name}` is no model of neuraloperator that can be imported", helps=helps
    )


def unreadable_call(text: str, why: str) -> OpError:
    """OP0642."""
    return fault(
        "OP0642",
        f"this is no call of a constructor: {why}",
        notes=(text if len(text) <= 100 else text[:97] + "...",),
        helps=("write `FNO(n_modes = (16, 16), in_channels = 1, out_channels = 1, ...)`",),
    )


def _dotted(node: ast.expr, text: str) -> str:
    """The last name of `neuralop.models.FNO`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    raise unreadable_call(text, "what is called has no name")


def _literal(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Name | ast.Attribute):
        return _dotted(node, text)  # `F.gelu` is the word `gelu`
    if isinstance(node, ast.Call):
        return _call(node, text)  # of a model within a model
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _repeated(node, text)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise unreadable_call(text, f"`{ast.unparse(node)}` is no literal") from error


def _repeated(node: ast.BinOp, text: str) -> Any:
    """`[[8, 8]] * 5`, as calls of UNO are written."""
    items, times = _literal(node.left, text), _literal(node.right, text)
    if not isinstance(items, list) or not isinstance(times, int) or not 0 <= times <= MOST_LAYERS:
        raise unreadable_call(text, f"`{ast.unparse(node)}` is no repeated list")
    return items * times


# --- checkpoints ------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> tuple[ConstructorCall | None, dict[str, Tensor]]:
    """The call, where the checkpoint has it, and its weights.

    Args:
        path: a file of weights, or a folder of a run of neuraloperator.

    Raises:
        OpError: OP0643, it is none.
    """
    file = _weights_file(path)
    found = load_safely(file)
    if not isinstance(found, dict):
        raise bad_weights(file, f"it holds a {type(found).__name__}, no weights")
    kept = found.pop("_metadata", None) or _beside(file)
    import torch

    strange = [k for k, x in found.items() if not isinstance(x, torch.Tensor)]
    if strange:
        raise bad_weights(file, f"`{strange[0]}` is no tensor")
    if not isinstance(kept, Mapping) or "_name" not in kept:
        return None, found
    return call_of_kept(known_name(str(kept["_name"])), kept), found


def load_safely(file: Path) -> Any:
    """A file of `torch.save`, with stand-ins for every function and class that it names.

    Raises:
        OpError: OP0643.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    try:
        with os.fdopen(open_regular(file), "rb") as held:
            inspect(held, free_memory() // 2, stand_ins=True)
            held.seek(0)
            names = get_unsafe_globals_in_checkpoint(held)
            held.seek(0)
            with safe_globals([(stand_in(x), x) for x in names]):
                return torch.load(held, map_location="cpu", weights_only=True)
    # torch and the readers below it raise a dozen types, depending on which byte is broken
    except Exception as error:
        raise bad_weights(file, "it is no file of `torch.save`") from error


def stand_in(name: str) -> type:
    """A class that does nothing and knows what it stands for."""

    def made(self: Any, *args: object, **_: object) -> None:
        # a function of torch is kept as `getattr(home, "tanh")`
        if name.endswith(".getattr") and args and isinstance(args[-1], str):
            self.stands_for = args[-1]

    body = {"stands_for": name, "__init__": made, "__setstate__": lambda *_: None}
    return type("StandIn", (), body)


def _weights_file(path: Path) -> Path:
    if path.is_file():
        return path
    for name in ("best_model_state_dict.pt", "model_state_dict.pt"):
        if (path / name).is_file():
            return path / name
    found = sorted(path.glob("*_state_dict.pt")) if path.is_dir() else []
    if len(found) == 1:
        return found[0]
    why = "several" if found else "no"
    raise bad_weights(path, f"it has {why} `*_state_dict.pt`")


def _beside(file: Path) -> Any:
    """The arguments in the file that `save_checkpoint` writes beside the weights."""
    other = file.with_name(file.name.replace("_state_dict.pt", "_metadata.pkl"))
    return load_safely(other) if other != file and other.is_file() else None


def bad_weights(path: Path | str, why: str) -> OpError:
    """OP0643."""
    return fault(
        "OP0643", f"these are no weights of neuraloperator that fit: {why}", file=str(path)
    )
