"""Free memory of this machine: the bound of what is read from a file that a stranger made."""

import os
from pathlib import Path

UNKNOWN = 4 << 30  # bytes, where the system does not tell


def free_memory() -> int:
    """Bytes that can be used here and now; all of the memory where the system does not tell."""
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
