"""Conversion of arrays and lists to values of a model, and of outputs to the type of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.nn.points.batch import Values
from opdsl.nn.points.packed import Packed


def as_arguments(
    graph: Graph, inputs: Sequence[Any], named: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn arrays into tensors, and lists of samples of an input into packed ones.

    Other values stay as they are; the module refuses them.

    Raises:
        OpError: OP0905, an array holds no numbers; OP0901, samples of a list differ in channels.
    """
    names = [x.name for x in graph.inputs]
    unnamed = [None] * max(0, len(inputs) - len(names))
    values = tuple(_value(k, x, names) for k, x in zip([*names, *unnamed], inputs, strict=False))
    return values, {k: _value(k, x, names) for k, x in named.items()}


def as_input(x: Values, like: Any) -> Any:
    """Convert an output to the type of the input `like`: an array, a list, or its device."""
    is_list = isinstance(like, list | tuple)
    first = like[0] if is_list and like else like
    if isinstance(x, Packed) and (is_list or isinstance(first, np.ndarray)):
        return [_leaf(y, first) for y in x.parts]
    return x.map(lambda y: _leaf(y, first)) if isinstance(x, Packed) else _leaf(x, first)


def as_tensors(name: str, x: Any) -> Any:
    """Turn an array, or each array of a list, into a tensor; other values stay as they are.

    Raises:
        OpError: OP0905, an array holds no numbers.
    """
    if isinstance(x, list | tuple):
        return [as_tensors(name, y) for y in x]
    return _tensor(name, x) if isinstance(x, np.ndarray) else x


def _leaf(x: Tensor, like: Any) -> Any:
    if isinstance(like, np.ndarray):
        return x.numpy()
    if isinstance(like, Packed):
        like = like.values
    return x.to(like.device) if isinstance(like, Tensor) else x


def _value(name: str | None, x: Any, inputs: Sequence[str]) -> Any:
    if isinstance(x, np.ndarray):
        return _tensor(name, x)
    if not isinstance(x, list | tuple):
        return x
    parts = [_value(None, y, ()) for y in x]
    is_samples = name in inputs and parts and all(isinstance(y, Tensor) for y in parts)
    return Packed.of(parts) if is_samples else parts


def _tensor(name: str | None, x: np.ndarray[Any, Any]) -> Tensor:
    if x.dtype.kind not in "biufc":
        message = f"`{name or 'an input'}` is an array of {x.dtype}, expected numbers"
        raise fault("OP0905", message, helps=("convert it: `x.astype(numpy.float32)`",))
    native = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    # torch has no unsigned integers of 16 bits and more, nor numbers of 80 bits
    return torch.tensor(native if native.dtype.char in "?bBhilqefdFD" else native.astype("f8"))
