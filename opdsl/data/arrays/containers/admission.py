"""Check a request for values against what is listed and against free memory, before any is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

from opdsl.data.arrays.listing import ArrayInfo
from opdsl.data.io.hdf5.safe_h5 import LARGEST, NUMBERS
from opdsl.data.io.memory_budget import (
    data_budget,
    is_out_of_memory,
    out_of_memory,
    too_large_for_memory,
)
from opdsl.diagnostics import OpError, fault
from opdsl.safe_pt import UnsafeFileError

COPY = "copy or make it again; a file whose writing was cut short cannot be read"


def selected(shape: Sequence[int], index: Sequence[slice]) -> tuple[range, ...]:
    """Return the positions that an index selects on each axis; an axis without a slice is whole."""
    whole = (slice(None),) * (len(shape) - len(index))
    ranges = tuple(range(n)[s] for n, s in zip(shape, (*index, *whole), strict=True))
    assert all(x.step > 0 for x in ranges), "steps are positive"
    return ranges


def admit(name: str, info: ArrayInfo, ranges: Sequence[range], source: str) -> None:
    """Refuse values that are no numbers of torch, and a result that does not fit into memory.

    Raises:
        OpError: OP0610.
    """
    if info.dtype.kind not in NUMBERS or info.dtype.itemsize > LARGEST:
        message = f"`{name}` holds {info.dtype}, not real numbers of at most {LARGEST} bytes"
        raise fault("OP0610", message, file=source)
    size = prod(map(len, ranges)) * info.dtype.itemsize
    if size > (cap := data_budget()):
        raise too_large_for_memory(f"`{name}`", size, cap, source)


@contextmanager
def damage(source: str, library: str) -> Iterator[None]:
    """Turn whatever a library raises about a file into OP0610; the block may call nothing else."""
    try:
        yield
    except OpError:
        raise
    except UnsafeFileError as error:
        message = f"the file is damaged, or holds more than arrays of numbers: {error}"
        helps = ("save arrays or tensors, by name or in lists; other objects are not read",)
        raise fault("OP0610", message, helps=helps, file=source) from error
    # zipfile, NumPy and json raise a dozen types, depending on which byte is broken
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory(source) from error
        raise damaged(source, f"{library} says: {first_line(error)}") from error


def damaged(source: str, *notes: str) -> OpError:
    """Make OP0610 about a damaged file."""
    message = "the file is damaged or incomplete"
    return fault("OP0610", message, notes=notes, helps=(COPY,), file=source)


def first_line(error: BaseException) -> str:
    """Return the first line of the text of an error, or its type where it has no text."""
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
