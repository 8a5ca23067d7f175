"""The kernels of `rows.cpp` as a library, compiled at first use and kept in the user's cache.

What comes in: the source beside this file, the compiler and the processor of this machine. What
goes out: the loaded library, or None where it cannot be had; a note then says why, once. The name
of the file in the cache is a hash of source, compiler, flags and processor, so another of these is
another file. It is written whole or not at all. `OPDSL_NATIVE=0` does without.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("rows.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-fopenmp", "-w")
SECONDS = 120.0  # a compiler that takes longer is taken for stuck


@cache
def library() -> ctypes.CDLL | None:
    """The kernels, or None: there is no compiler, or it failed."""
    if os.environ.get("OPDSL_NATIVE", "1") == "0":
        return None
    try:
        return ctypes.CDLL(str(_built()))
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(error).strip().splitlines()[0]
        note = f"compiled kernels are not there ({reason}): torch does their work, more slowly"
        warnings.warn(note, RuntimeWarning, stacklevel=2)
        return None


def _built() -> Path:
    compiler = _compiler()
    target = _folder() / f"rows-{_key(compiler)}.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # in a folder of its own: two processes may be at it, and the last one wins
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            _compile(compiler, Path(folder) / "rows.so").replace(target)
    return target


def _compiler() -> str:
    found = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if found is None:
        raise FileNotFoundError("there is no C++ compiler")
    return found


def _compile(compiler: str, made: Path) -> Path:
    done = subprocess.run(  # noqa: S603  the user's own compiler, our own source
        [compiler, *FLAGS, "-o", str(made), str(SOURCE)],
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        lines = [x for x in done.stderr.splitlines() if "error" in x]
        raise OSError(f"{compiler} failed: {(lines or ['no message'])[0]}")
    return made


def _key(compiler: str) -> str:
    said = subprocess.run(  # noqa: S603  the user's own compiler
        [compiler, "--version"], capture_output=True, check=True, timeout=SECONDS
    ).stdout
    parts = (SOURCE.read_bytes(), said, " ".join(FLAGS).encode(), _processor().encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _processor() -> str:
    """What `-march=native` means here: the processor's name and what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    told = {x for x in lines if x.startswith(("model name", "flags", "Features"))}
    return platform.machine() + "".join(sorted(told))


def _folder() -> Path:
    if sys.platform == "darwin":
        kept = Path.home() / "Library" / "Caches"
    else:
        kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return kept / "opdsl" / "native"
