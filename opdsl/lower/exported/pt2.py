"""A program of torch.export as a file, and the file just written as a function again.

What comes in: a traced program and a path. What goes out: a file; and back, a function of tensors.
Only what was written a moment ago is ever opened: `torch.export.load` may unpickle.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from opdsl.lower.exported.trace import Traced, told

Run = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]


def write(traced: Traced, path: Path) -> None:
    """The program as a `.pt2` file."""
    held = io.BytesIO()  # so that a full disk is told by the system and not by torch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about itself
        torch.export.save(traced.program, held)
    path.write_bytes(held.getbuffer())


def opened(path: Path) -> Run:
    """The function in a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.export.load(path).module()
    return lambda given: told(module(*given))
