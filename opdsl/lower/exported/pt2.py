"""Files of torch.export.

Only a file that was written a moment ago is ever opened: `torch.export.load` may unpickle.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import torch

from opdsl.lower.exported.silence import quiet
from opdsl.lower.exported.trace import RunFunction, Traced, as_outputs

ABOUT = "opdsl.json"  # the member of the file that says what it is


def write(traced: Traced, path: Path, about: Mapping[str, str]) -> None:
    """Write the program as a `.pt2` file."""
    buffer = io.BytesIO()  # so that a full disk is told by the system and not by torch
    with quiet():
        torch.export.save(traced.program, buffer, extra_files={ABOUT: json.dumps(dict(about))})
    path.write_bytes(buffer.getbuffer())


def open_file(path: Path) -> RunFunction:
    """Load the function in a file."""
    with quiet():
        module = torch.export.load(path).module()
    return lambda given: as_outputs(module(*given))


def usage(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return lines of Python that run the file."""
    return (
        "import torch",
        f'model = torch.export.load("{path}").module()',
        f"model({', '.join(names)})",
    )
