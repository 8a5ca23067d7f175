"""Worker process in which libraries read untrusted files: run by `foreign`, without our package.

A line of JSON on stdin names a file and what reading it may cost. The answer on stdout is the
length of a JSON header in 8 bytes, the header, and the bytes of its arrays one after the other. If
a file needs more memory, the answer says so; if it needs more time, the process ends. A mesh is
returned whole. HDF5 is traversed without its values, and an answer means that this terminates.
Other modules (`vtk_reader`, `zarr_reader`) answer on their own.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import os
import sys
import warnings
from typing import Any

import numpy as np

HDF5 = "hdf5"
OURS = "opdsl."  # modules with a function `answer`, and the name of the library that it calls
MOST_OBJECTS = 200_000  # more than `safe_h5` accepts
SCALES = "DIMENSION_LIST"
NUMBERS = "biuf"
SAID = 200  # characters of what meshio says

Arrays = list[np.ndarray[Any, Any]]


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keep what a library prints out of the answers
    for line in sys.stdin.buffer:
        request = json.loads(line)
        form = request["form"]
        ours = form.startswith(OURS)
        reader = importlib.import_module(
            "h5py" if form == HDF5 else form if ours else f"meshio.{form}"
        )
        _limit(request["seconds"], request["memory"])
        if form == HDF5:
            header, arrays = _walk(reader, request["path"])
        else:
            header, arrays = _read(reader, request)
        _limit(request["seconds"], None)
        text = json.dumps(header).encode()
        answers.write(len(text).to_bytes(8, "little") + text)
        for x in arrays:
            answers.write(x.data)
        answers.flush()


def _limit(seconds: float, memory: int | None) -> None:
    """Limit further processor time (rounded up to seconds), and memory where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    use = resource.getrusage(resource.RUSAGE_SELF)
    _set(resource.RLIMIT_CPU, math.ceil(use.ru_utime + use.ru_stime + seconds))
    with contextlib.suppress(OSError, ValueError):  # no /proc: memory is not bounded here
        if memory is None:
            _set(resource.RLIMIT_AS, resource.getrlimit(resource.RLIMIT_AS)[1])
        else:
            with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  as short as it is
                pages = int(file.read().split()[0])
            _set(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def _set(what: int, most: int) -> None:
    import resource

    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _read(reader: Any, request: dict[str, Any]) -> tuple[dict[str, Any], Arrays]:
    """Call a library; return the header of the answer and its arrays."""
    output = io.StringIO()
    try:
        with (
            contextlib.redirect_stderr(output),
            contextlib.redirect_stdout(output),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # numbers that overflow are refused later
            if hasattr(reader, "answer"):
                header, arrays = reader.answer(request)
                return header, arrays
            return packed(reader.read(request["path"]))
    except MemoryError:
        return {"failed": "memory"}, []
    except OSError as error:
        return {"failed": "os", "text": str(error.strerror or error).lower()}, []
    # whatever byte is broken decides which type of error it is; SystemExit is one of them
    except (Exception, SystemExit) as error:  # noqa: BLE001  that is its job
        text = " ".join(f"{error} {output.getvalue()}".split())
        library = getattr(reader, "LIBRARY", "meshio")
        return {"failed": "damaged", "text": text[:SAID], "library": library}, []


def _walk(h5py: Any, path: str) -> tuple[dict[str, Any], Arrays]:
    """Traverse an HDF5 file without the values of its arrays; errors are left to `safe_h5`."""
    try:
        with h5py.File(path, "r") as file:
            waiting: list[Any] = [file["/"].id]
            seen: set[Any] = set()
            while waiting and len(seen) < MOST_OBJECTS:
                here = waiting.pop()
                if here in seen:
                    continue
                seen.add(here)
                _attributes(h5py, file, here)
                if isinstance(here, h5py.h5g.GroupID):
                    hard = (x for x in here if here.links.get_info(x).type == h5py.h5l.TYPE_HARD)
                    waiting += [h5py.h5o.open(here, x) for x in hard]
                elif isinstance(here, h5py.h5d.DatasetID) and _chunked(h5py, here):
                    here.get_num_chunks()
    except MemoryError:
        return {"failed": "memory"}, []
    except Exception:  # noqa: BLE001  h5py raises five types; the reader meets it again and tells it
        return {}, []
    return {}, []


def _chunked(h5py: Any, array: Any) -> bool:
    return bool(array.get_create_plist().get_layout() == h5py.h5d.CHUNKED)


def _attributes(h5py: Any, file: Any, here: Any) -> None:
    """Read the attributes, those too that the reader leaves out, and open the scales of axes."""
    if not isinstance(here, h5py.h5g.GroupID | h5py.h5d.DatasetID):
        return
    if not h5py.h5a.get_num_attrs(here):
        return
    attributes = (h5py.Group if isinstance(here, h5py.h5g.GroupID) else h5py.Dataset)(here).attrs
    for name in attributes:
        with contextlib.suppress(TypeError):  # a type that NumPy lacks
            value = attributes[name]
            if name == SCALES:
                for reference in (x for axis in value for x in axis):
                    with contextlib.suppress(Exception):  # a reference to nothing
                        _ = file[reference].id


def packed(mesh: Any) -> tuple[dict[str, Any], Arrays]:
    """Return the header about a mesh of meshio, and its arrays."""
    arrays: Arrays = []

    def put(values: Any) -> list[Any] | None:
        """Append an array; return its number format and shape, or None if it is not numeric."""
        x = np.asarray(values)
        if x.dtype.kind not in NUMBERS or x.dtype.itemsize > 8:
            return None
        arrays.append(np.ascontiguousarray(x, x.dtype.newbyteorder("<")))
        return [arrays[-1].dtype.str, list(x.shape)]

    return {
        "points": put(mesh.points),
        "cells": [[str(x.type), put(x.data)] for x in mesh.cells],
        "point_data": [[str(k), put(x)] for k, x in mesh.point_data.items()],
        "cell_data": [[str(k), [put(y) for y in x]] for k, x in mesh.cell_data.items()],
    }, arrays


if __name__ == "__main__":
    main()
