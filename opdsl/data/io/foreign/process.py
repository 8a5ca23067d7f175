"""Run foreign libraries in a separate process, with time and memory limited by the file size.

The readers of meshio believe what a file declares: 113 bytes make 5.7 GB of points. HDF5 goes round
for ever in a damaged heap of texts. So they meet a file first in a child without torch, which is
kept for the next file and is ended when this process ends. Its answer is read as plain numbers, no
larger than requested. Where the system cannot limit memory (macOS), only time is limited.
"""

from __future__ import annotations

import atexit
import json
import os
import pkgutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.io.memory_budget import data_budget
from opdsl.diagnostics import OpError, fault

HDF5 = "hdf5"
SECONDS = 0.5  # of the processor, for any file
SECONDS_PER_BYTE = 1e-5  # of the processor; the slowest reader takes 3e-6
SECONDS_PER_HDF5_BYTE = 1e-7  # values are not read
SECONDS_PER_SMALL_BYTE = 1e-6  # where a file consists of small objects; the slowest takes 2e-7
MOST_SMALL_SECONDS = 20
MEMORY = 256 << 20  # bytes, for any file
MEMORY_PER_BYTE = 64  # compressed arrays become larger, and are copied
LARGEST_HEADER = 16 << 20  # bytes of the answer's header


@dataclass(frozen=True, slots=True)
class CellBlock:
    """Cells of one kind: its name, and the point indices (cells, corners)."""

    type: str
    data: NDArray[Any]


@dataclass(frozen=True, slots=True)
class MeshFile:
    """The contents of a file as meshio reads it; arrays without numbers have dtype `object`."""

    points: NDArray[Any]
    cells: list[CellBlock]
    point_data: dict[str, NDArray[Any]]
    cell_data: dict[str, list[NDArray[Any]]]


# a mesh; the header about arrays by name, and these; or nothing
Answer = MeshFile | tuple[dict[str, Any], dict[str, NDArray[Any]]] | None


def parse_mesh(path: Path, form: str, source: str) -> MeshFile:
    """Parse a regular file with meshio or VTK.

    Args:
        path: the file.
        form: a module of meshio, or `opdsl.data.io.foreign.vtk_reader`.
        source: the path as the user wrote it.

    Raises:
        OpError: OP0610, the file is damaged, or costs more than one of its size may.
    """
    result = _answer(path, form, source, SECONDS_PER_BYTE * path.stat().st_size)
    if not isinstance(result, MeshFile):
        raise fault("OP0610", "the file holds a grid, not a mesh", file=source)
    return result


def refuse_endless_hdf5(path: Path, source: str) -> None:
    """Traverse an HDF5 file, without the values of its arrays, in a process that can be ended.

    Raises:
        OpError: OP0610, it does not end in time, or ends the process.
    """
    size = path.stat().st_size
    small = min(SECONDS_PER_SMALL_BYTE * size, MOST_SMALL_SECONDS)
    _answer(path, HDF5, source, max(SECONDS_PER_HDF5_BYTE * size, small))


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading may cost: seconds of the processor, and bytes of memory."""

    seconds: float
    memory: int


def ask_arrays(
    path: Path, module: str, request: Mapping[str, Any], limits: Limits, source: str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Ask one of our modules in the worker for arrays of a file or folder.

    Args:
        path: the file or folder.
        module: has a function `answer`.
        request: entries of the request for this module.
        limits: what the answer may cost.
        source: the path as the user wrote it.

    Returns:
        The header of the answer, and its arrays by name.

    Raises:
        OpError: OP0610 the file is damaged, or exceeds the limits; OP0615 it points outside.
    """
    result = _call(path, {**request, "form": module}, limits, source)
    if not isinstance(result, tuple):
        raise fault("OP0610", "the file holds a mesh, not a grid", file=source)
    return result


def outside(message: str, source: str) -> OpError:
    """Make OP0615 about data that point to other files."""
    return fault(
        "OP0615",
        message,
        notes=("opening data never reads a file that you did not name",),
        helps=("if you trust it, copy the data themselves to where the link is",),
        file=source,
    )


def _answer(path: Path, form: str, source: str, more: float) -> Answer:
    """Ask the worker about a file; return the mesh, or None for HDF5.

    Raises:
        OpError: OP0610, the file is damaged or exceeds its limits.
    """
    request = {"form": form, "kind": path.suffix.lower()[1:]}
    return _call(path, request, file_limits(path, more), source)


def file_limits(path: Path, more: float) -> Limits:
    """Limit what reading a whole file costs: `more` seconds than the least, and memory by size."""
    size = path.stat().st_size
    memory = min(MEMORY + MEMORY_PER_BYTE * size, max(data_budget(), MEMORY))
    return Limits(SECONDS + more, memory)


def _call(path: Path, request: Mapping[str, Any], limits: Limits, source: str) -> Answer:
    """Send a request to the worker; return a mesh, named arrays with their header, or None.

    Raises:
        OpError: OP0610 the file is damaged or exceeds the limits; OP0615 it points outside.
    """
    costs = {"seconds": limits.seconds, "memory": limits.memory}
    with _LOCK:
        try:
            worker = _worker()
            header = worker.ask({**request, **costs, "path": str(path.resolve())})
            if not header:
                return None
            if "arrays" in header:
                return header, worker.named(header["arrays"], limits.memory)
            if "failed" not in header:
                return worker.take(header, limits.memory)
        except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
            _close()
            raise fault(
                "OP0610",
                "the file takes too long to read for its size, or ends the process that reads it",
                notes=(f"{limits.seconds:.1f} s are allowed for what it declares",),
                helps=("it is damaged, or made to do so: make it again with another program",),
                file=source,
            ) from error
    raise _refused(header, path, source, limits.memory)


def _refused(header: dict[str, Any], path: Path, source: str, memory: int) -> OpError:
    text = str(header.get("text", ""))
    if header["failed"] == "outside":
        return outside(text, source)
    if header["failed"] == "os":
        return fault("OP0610", text, file=source)
    if header["failed"] == "memory":
        size = "" if path.is_dir() else f"{path.stat().st_size:,} "
        return fault(
            "OP0610",
            f"the file declares more than its {size}bytes can hold",
            notes=(f"reading it takes more than {memory >> 20} MiB",),
            helps=("it is damaged, or made to do so: make it again with another program",),
            file=source,
        )
    library = str(header.get("library", "meshio"))
    kind = f", or no {path.suffix.lower()} file" if path.suffix else ""
    return fault(
        "OP0610",
        f"the file is damaged{kind}",
        notes=(f"{library} says: {text}",) if text else (),
        file=source,
    )


# --- the process --------------------------------------------------------------------------------


class _Worker:
    """A running process of `worker`."""

    def __init__(self) -> None:
        source = pkgutil.get_data("opdsl.data.io.foreign", "worker.py") or b""
        path = os.pathsep.join(x for x in sys.path if x)
        self.owner = os.getpid()
        self.process = subprocess.Popen(  # noqa: S603  this Python and our own text
            [sys.executable, "-P", "-c", source.decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ
            | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
        )

    @property
    def usable(self) -> bool:
        """Whether it runs and this process started it: a fork would share the pipes."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Send a request and read the header of the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        self.process.stdin.flush()
        size = int.from_bytes(_exactly(self.process.stdout, 8), "little")
        if size > LARGEST_HEADER:
            raise ValueError("the header of the answer is too large")
        header = json.loads(_exactly(self.process.stdout, size))
        if not isinstance(header, dict):
            raise TypeError("the header of the answer is no table")
        return header

    def take(self, header: dict[str, Any], most: int) -> MeshFile:
        """Read the arrays of a mesh, in the order of the header; at most `most` bytes."""
        get = _Taker(self.process.stdout, most)
        return MeshFile(
            get(header["points"]),
            [CellBlock(str(name), get(spec)) for name, spec in header["cells"]],
            {str(name): get(spec) for name, spec in header["point_data"]},
            {str(name): [get(x) for x in specs] for name, specs in header["cell_data"]},
        )

    def named(self, specs: list[list[Any]], most: int) -> dict[str, NDArray[Any]]:
        """Read arrays of the given names, number formats and shapes; at most `most` bytes."""
        get = _Taker(self.process.stdout, most)
        return {str(name): get(spec) for name, *spec in specs}

    def close(self) -> None:
        """End the process, unless a parent of this process started it."""
        if self.owner == os.getpid():
            self.process.kill()
            with suppress(OSError):
                self.process.communicate()


class _Taker:
    """Reads one array after the other from the answer, at most so many bytes in all."""

    def __init__(self, stream: IO[bytes] | None, most: int) -> None:
        self.stream: Any = stream  # a pipe, which has `readinto`
        self.remaining = most

    def __call__(self, spec: list[Any] | None) -> NDArray[Any]:
        """Read an array of this number format and shape; without them it has no numbers."""
        if spec is None:
            return np.empty(0, object)
        dtype, shape = np.dtype(str(spec[0])), tuple(int(n) for n in spec[1])
        self.remaining -= prod(shape) * dtype.itemsize
        if dtype.kind not in "biuf" or min(shape, default=0) < 0 or self.remaining < 0:
            raise ValueError("the answer is larger than what was asked for")
        values = np.empty(shape, dtype)
        view = memoryview(values.reshape(-1).view(np.uint8).data)
        while view:
            count = self.stream.readinto(view)
            if not count:
                raise EOFError
            view = view[count:]
        return values


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


_LOCK = threading.Lock()
_RUNNING: list[_Worker] = []  # one or none


def _worker() -> _Worker:
    if not (_RUNNING and _RUNNING[0].usable):
        _close()
        _RUNNING.append(_Worker())
    return _RUNNING[0]


@atexit.register
def _close() -> None:
    while _RUNNING:
        _RUNNING.pop().close()


if hasattr(os, "register_at_fork"):
    # a forked process that prefetches samples must not talk to the worker of the first one
    os.register_at_fork(after_in_child=_RUNNING.clear)
