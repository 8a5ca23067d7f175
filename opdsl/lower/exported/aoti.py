"""A program compiled by AOTInductor as a file, and the file just written as a function again.

What comes in: a traced program and a path. What goes out: a file with native code for processors
such as this one, which needs neither a compiler nor Python's part of torch to run; and back, a
function of tensors. Fast transforms stay calls of torch's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from opdsl.diagnostics import fault
from opdsl.lower.exported.silence import quiet, silent
from opdsl.lower.exported.trace import RunFunction, Traced, as_outputs

COMPILERS = ("g++", "clang++", "c++")


def check_compiler() -> None:
    """What compiles C++ is there.

    Raises:
        OpError: OP0645.
    """
    names = [x for x in (os.environ.get("CXX"),) if x] or COMPILERS
    if not any(map(shutil.which, names)):
        message = "AOTInductor needs a C++ compiler, and there is none"
        helps = ("install g++, or name a compiler by the variable CXX", "or export a `.pt2` file")
        raise fault("OP0645", message, helps=helps)


def write(traced: Traced, path: Path, about: Mapping[str, str]) -> None:
    """The program as an `.aoti.pt2` file."""
    from torch._inductor import aoti_compile_and_package

    settings = {"aot_inductor.metadata": dict(about)}
    with silent(), torch.no_grad():
        aoti_compile_and_package(traced.program, package_path=str(path), inductor_configs=settings)


def open_file(path: Path) -> RunFunction:
    """The function in a file; its code is run."""
    from torch._inductor import aoti_load_package

    with quiet():
        model = aoti_load_package(str(path))
    return lambda given: as_outputs(model(*given))


def usage(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Lines of Python that run the file."""
    return (
        "import torch",
        f'model = torch._inductor.aoti_load_package("{path}")',
        f"model({', '.join(names)})",
    )
