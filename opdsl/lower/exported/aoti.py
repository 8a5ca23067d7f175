"""Files of AOTInductor: native code for processors such as this one.

A file needs neither a compiler nor Python's part of torch to run. Fast transforms stay calls of
torch's own.
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
    """Check that there is a C++ compiler.

    Raises:
        OpError: OP0645, there is none.
    """
    names = [x for x in (os.environ.get("CXX"),) if x] or COMPILERS
    if not any(map(shutil.which, names)):
        message = "AOTInductor needs a C++ compiler, and there is none"
        helps = ("install g++, or name a compiler by the variable CXX", "or export a `.pt2` file")
        raise fault("OP0645", message, helps=helps)


def write(traced: Traced, path: Path, about: Mapping[str, str]) -> None:
    """Write the program as an `.aoti.pt2` file."""
    from torch._inductor import aoti_compile_and_package

    settings = {"aot_inductor.metadata": dict(about)}
    with silent(), torch.no_grad():
        aoti_compile_and_package(traced.program, package_path=str(path), inductor_configs=settings)


def open_file(path: Path) -> RunFunction:
    """Load the function in a file; this runs code of the file."""
    from torch._inductor import aoti_load_package

    with quiet():
        model = aoti_load_package(str(path))
    return lambda given: as_outputs(model(*given))


def usage(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return lines of Python that run the file."""
    return (
        "import torch",
        f'model = torch._inductor.aoti_load_package("{path}")',
        f"model({', '.join(names)})",
    )
