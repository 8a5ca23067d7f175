"""How much memory one data set may take: what a file declares is checked against this first."""

import os
from pathlib import Path

from opdsl.diagnostics import OpError, fault

SHARE = 0.5  # of the free memory: a data set is copied once on its way to float32
UNKNOWN = 4 << 30  # bytes, where the system does not tell


def room() -> int:
    """Bytes that the fields of one data set may take here and now."""
    return int(SHARE * _free())


def too_big(what: str, size: int, cap: int, source: str) -> OpError:
    """OP0610 about something that declares more bytes than there is room for."""
    return fault(
        "OP0610",
        f"{what} would take {_readable(size)}, and there is room for {_readable(cap)}",
        helps=("read fewer samples or a coarser resolution, or use a machine with more memory",),
        file=source,
    )


def _free() -> int:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        told = next(x for x in lines if x.startswith("MemAvailable:"))
        return int(told.split()[1]) << 10
    except (OSError, StopIteration, ValueError, IndexError):
        return _physical()


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return UNKNOWN


def _readable(size: int) -> str:
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min(max(size.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{size / (1 << 10 * power):.3g} {units[power]}"
