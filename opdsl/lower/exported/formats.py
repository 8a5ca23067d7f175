"""The kinds of files: how each is written, and how the file just written is opened again.

What comes in: a traced program and a path. What goes out: a file; and back, a function of tensors.
Only what was written a moment ago is ever opened: `torch.export.load` may unpickle.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from opdsl.lower.exported.trace import Traced, told

Run = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of files.

    Attributes:
        about: what it is, in words.
        suffix: how its names end.
        write: a program -> a file.
        opened: a file -> its function.
    """

    about: str
    suffix: str
    write: Callable[[Traced, Path], None]
    opened: Callable[[Traced, Path], Run]


def _write_pt2(traced: Traced, path: Path) -> None:
    held = io.BytesIO()  # so that a full disk is told by the system and not by torch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about itself
        torch.export.save(traced.program, held)
    path.write_bytes(held.getbuffer())


def _open_pt2(_: Traced, path: Path) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.export.load(path).module()
    return lambda given: told(module(*given))


FORMATS: dict[str, Format] = {
    "pt2": Format("a program of torch.export", ".pt2", _write_pt2, _open_pt2),
}
