"""Free memory of this machine, which bounds what is read from an untrusted file."""

import os
from pathlib import Path

UNKNOWN = 4 << 30  # bytes to assume where the system does not report its memory


def free_memory() -> int:
    """Bytes of memory available now, or the physical memory where this is not reported."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        available = next(x for x in lines if x.startswith("MemAvailable:"))
        return int(available.split()[1]) << 10
    except (OSError, StopIteration, ValueError, IndexError):
        return _physical()


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return UNKNOWN
