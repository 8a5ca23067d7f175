"""Constructor calls of neuraloperator, from wherever they are written.

    a text        FNO(n_modes = (16, 16), in_channels = 1, out_channels = 1, hidden_channels = 32)
    a config      YAML or JSON with `model_arch`, at the top or under `model`
    a module      the arguments that its class stores
    a checkpoint  the `_metadata` among its weights

The last two also give weights. No code that is read is ever run: a call is parsed as literals, a
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

ARCHES = ("model_arch", "arch", "_name")
MOST_LAYERS = 1000


def read_call(text: str) -> ConstructorCall:
    """Parse a call of a Python program, whose arguments are literals or plain names.

    Raises:
        OpError: OP0642, the text is no such call.
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
    keywords = {}
    for x in node.keywords:
        if x.arg is None:
            raise unreadable_call(text, "`**` hides the arguments")
        keywords[x.arg] = _literal(x.value, text)
    return ConstructorCall(name, args, keywords)


def read_config(path: Path) -> ConstructorCall:
    """Read the model of a config file, YAML or JSON.

    Raises:
        OpError: OP0642, the file cannot be read or names no model.
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
    """Extract the constructor call from a config: `model_arch` and the arguments.

    Raises:
        OpError: OP0642, the config names no model.
    """
    model = data.get("model", data) if isinstance(data, Mapping) else data
    arch = (
        next((model[x] for x in ARCHES if x in model), None) if isinstance(model, Mapping) else None
    )
    if not isinstance(model, Mapping) or not isinstance(arch, str):
        raise fault(
            "OP0642",
            "this config names no model",
            helps=("it has `model_arch`, at the top or under `model`",),
            file=where,
        )
    arguments = {k: x for k, x in model.items() if k not in ARCHES}
    if "data_channels" in arguments:  # what its own `get_model` calls them
        arguments["in_channels"] = arguments.pop("data_channels")
    return ConstructorCall(known_name(arch), (), arguments)


def call_of_module(module: Any) -> ConstructorCall:
    """Recover the constructor call of a module.

    Raises:
        OpError: OP0641, its class cannot be imported.
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
    """Make the call from the arguments that a module or a checkpoint stores."""
    arguments = {k: x for k, x in kept.items() if k not in BOOKKEEPING}
    return ConstructorCall(name, tuple(kept.get("args", ())), arguments)


def known_name(name: str) -> str:
    """Return the name of a class, matched without regard to case.

    Raises:
        OpError: OP0641, there is no such class.
    """
    for candidate in ARCHITECTURES:
        if candidate.lower() == name.lower():
            return candidate
    raise unknown_model(name)


def unknown_model(name: str) -> OpError:
    """Make OP0641 about a name that is no model."""
    names = list(ARCHITECTURES)
    helps = did_you_mean(name, names) or (f"known: {', '.join(names)}",)
    return fault(
        "OP0641", f"`{name}` is no model of neuraloperator that can be imported", helps=helps
    )


def unreadable_call(text: str, why: str) -> OpError:
    """Make OP0642 about a text that is no call of a constructor."""
    return fault(
        "OP0642",
        f"this is no call of a constructor: {why}",
        notes=(text if len(text) <= 100 else text[:97] + "...",),
        helps=("write `FNO(n_modes = (16, 16), in_channels = 1, out_channels = 1, ...)`",),
    )


def _dotted(node: ast.expr, text: str) -> str:
    """Return the last part of a dotted name: `FNO` of `neuralop.models.FNO`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    raise unreadable_call(text, "what is called has no name")


def _literal(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Name | ast.Attribute):
        return _dotted(node, text)  # `F.gelu` is the word `gelu`
    if isinstance(node, ast.Call):
        return _call(node, text)  # a model as an argument of a model
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _repeated(node, text)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise unreadable_call(text, f"`{ast.unparse(node)}` is no literal") from error


def _repeated(node: ast.BinOp, text: str) -> Any:
    """Evaluate a repeated list such as `[[8, 8]] * 5`, as in calls of UNO."""
    items, times = _literal(node.left, text), _literal(node.right, text)
    if not isinstance(items, list) or not isinstance(times, int) or not 0 <= times <= MOST_LAYERS:
        raise unreadable_call(text, f"`{ast.unparse(node)}` is no repeated list")
    return items * times


# --- checkpoints ------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> tuple[ConstructorCall | None, dict[str, Tensor]]:
    """Read a checkpoint; return its constructor call, if it is stored, and its weights.

    Args:
        path: a file of weights, or a folder of a run of neuraloperator.

    Raises:
        OpError: OP0643, there are no weights.
    """
    file = _weights_file(path)
    state = load_safely(file)
    if not isinstance(state, dict):
        raise bad_weights(file, f"it holds a {type(state).__name__}, no weights")
    metadata = state.pop("_metadata", None) or _beside(file)
    import torch

    strange = [k for k, x in state.items() if not isinstance(x, torch.Tensor)]
    if strange:
        raise bad_weights(file, f"`{strange[0]}` is no tensor")
    if not isinstance(metadata, Mapping) or "_name" not in metadata:
        return None, state
    return call_of_kept(known_name(str(metadata["_name"])), metadata), state


def load_safely(file: Path) -> Any:
    """Load a file of `torch.save`, with stand-ins for all functions and classes that it names.

    Raises:
        OpError: OP0643, the file is unsafe, damaged or of another kind.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    try:
        with os.fdopen(open_regular(file), "rb") as handle:
            inspect(handle, free_memory() // 2, stand_ins=True)
            handle.seek(0)
            names = get_unsafe_globals_in_checkpoint(handle)
            handle.seek(0)
            with safe_globals([(stand_in(x), x) for x in names]):
                return torch.load(handle, map_location="cpu", weights_only=True)
    # torch and the readers below it raise a dozen types, depending on which byte is broken
    except Exception as error:
        raise bad_weights(file, "it is no file of `torch.save`") from error


def stand_in(name: str) -> type:
    """Make a class that does nothing and stores the name of what it stands for."""

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
    matches = sorted(path.glob("*_state_dict.pt")) if path.is_dir() else []
    if len(matches) == 1:
        return matches[0]
    why = "several" if matches else "no"
    raise bad_weights(path, f"it has {why} `*_state_dict.pt`")


def _beside(file: Path) -> Any:
    """Load the arguments that `save_checkpoint` writes next to the weights; None without file."""
    other = file.with_name(file.name.replace("_state_dict.pt", "_metadata.pkl"))
    return load_safely(other) if other != file and other.is_file() else None


def bad_weights(path: Path | str, why: str) -> OpError:
    """Make OP0643 about weights that do not fit."""
    return fault(
        "OP0643", f"these are no weights of neuraloperator that fit: {why}", file=str(path)
    )
