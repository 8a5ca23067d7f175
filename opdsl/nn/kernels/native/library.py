"""The C++ kernels beside this file as a library, compiled at first use and cached for the user.

The file name in the cache is a hash of source, compiler, flags and processor. The file is written
whole or not at all; of several processes that need it at once, one compiles it. Where the cache
cannot be written, each process compiles for itself. Without a compiler, or with `OPDSL_NATIVE=0`,
there is no library, and torch does the work; a warning then gives the reason, once.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from opdsl.files import only_ours, user_cache

SOURCES = tuple(Path(__file__).with_name(x) for x in ("rows.cpp", "pairs.cpp"))
HEADERS = tuple(Path(__file__).with_name(x) for x in ("vectors.h", "planes.h", "tiles.h"))
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-fopenmp", "-w")
COMPILER_TIMEOUT = 120.0  # a compiler that takes longer is taken for stuck


class CompilerError(Exception):
    """The compiler failed; the text is its first error."""


@cache
def library() -> ctypes.CDLL | None:
    """Load the kernels; None if they are switched off, there is no compiler, or it failed."""
    if os.environ.get("OPDSL_NATIVE", "1") == "0":
        return None
    try:
        return _load()
    except (OSError, subprocess.SubprocessError, CompilerError) as error:
        reason = _reason(error)
        _warn(f"compiled kernels are not there ({reason}): torch does their work, more slowly")
        return None


def _warn(text: str) -> None:
    # the caller's caller: the line that wanted the kernels
    warnings.warn(text, RuntimeWarning, stacklevel=4)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error).strip().splitlines()[0]


def _load() -> ctypes.CDLL:
    compiler = _compiler()
    name = f"kernels-{_cache_key(compiler)}.so"
    try:
        cache_folder = _cache_folder()
        result = _open_cached(cache_folder / name)
        if result is not None:
            return result
        folder = _cache_workspace(cache_folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        return _compile_for_process(compiler, error)
    with folder, _exclusive(cache_folder):
        # a process that waited for the lock finds the library that another one has compiled
        return _open_cached(cache_folder / name) or _compile_into_cache(
            compiler, Path(folder.name), cache_folder / name
        )


def _cache_workspace(kept: Path) -> tempfile.TemporaryDirectory[str]:
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not only_ours(kept):
        raise PermissionError(f"others may write to {kept}")
    return tempfile.TemporaryDirectory(dir=kept)


def _open_cached(target: Path) -> ctypes.CDLL | None:
    """Open the cached library; None if it is missing, others could write it, or loading fails."""
    if target.exists() and only_ours(target) and only_ours(target.parent):
        with suppress(OSError):
            return ctypes.CDLL(str(target))
    return None


def _compile_into_cache(compiler: str, folder: Path, target: Path) -> ctypes.CDLL:
    result = _compile(compiler, folder / "kernels.so")
    result.chmod(0o700)  # some users have a umask that lets their group write
    return ctypes.CDLL(str(result.replace(target)))


def _compile_for_process(compiler: str, error: Exception) -> ctypes.CDLL:
    """Compile a library for this process; its file is deleted as soon as it is loaded."""
    _warn(f"compiled kernels cannot be kept ({_reason(error)}): each process compiles them anew")
    with tempfile.TemporaryDirectory() as folder:
        return ctypes.CDLL(str(_compile(compiler, Path(folder) / "kernels.so")))


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold a lock, so that no two processes compile at once; the system releases it at exit."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # some network file systems have no locks: two processes then do the same work
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _compiler() -> str:
    result = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if result is None:
        raise FileNotFoundError("there is no C++ compiler")
    return result


def _compile(compiler: str, made: Path) -> Path:
    objects = [made.with_name(f"{x.stem}.o") for x in SOURCES]
    with ThreadPoolExecutor() as pool:  # all sources at a time: each takes seconds
        pairs = zip(SOURCES, objects, strict=True)
        list(pool.map(lambda x: _run(compiler, "-c", str(x[0]), "-o", str(x[1])), pairs))
    _run(compiler, "-shared", *map(str, objects), "-o", str(made))
    return made


def _run(compiler: str, *arguments: str) -> None:
    process = subprocess.run(  # noqa: S603  the user's own compiler, our own source
        [compiler, *FLAGS, *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=COMPILER_TIMEOUT,
    )
    if process.returncode:
        lines = [x for x in process.stderr.splitlines() if "error" in x]
        raise CompilerError(f"{compiler} failed: {(lines or ['no message'])[0]}")


def _cache_key(compiler: str) -> str:
    version = subprocess.run(  # noqa: S603  the user's own compiler
        [compiler, "--version"], capture_output=True, check=False, timeout=COMPILER_TIMEOUT
    )
    if version.returncode:
        raise CompilerError(f"{compiler} does not tell its version")
    source = b"\0".join(x.read_bytes() for x in (*SOURCES, *HEADERS))
    parts = (source, version.stdout, " ".join(FLAGS).encode(), processor().encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def processor() -> str:
    """Describe what `-march=native` means here: the processor's name and its instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    features = {x for x in lines if x.startswith(("model name", "flags", "Features"))}
    return platform.machine() + "".join(sorted(features))


def _cache_folder() -> Path:
    return user_cache() / "native"
