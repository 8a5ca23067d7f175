"""The memory that this process may still take: that of the machine, its control group, its limits.

It bounds what is read from an untrusted file, and says beforehand what cannot run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

UNKNOWN = 4 << 30  # bytes to assume where the system does not report its memory
GROUPS = Path("/sys/fs/cgroup")
# a control group without a limit has a number near the greatest of 64 bits (version 1)
ENDLESS = 1 << 60
# files of a control group, by its version: limit, use, and what of the use can be dropped
FILES = {
    2: ("memory.max", "memory.current", ("inactive_file", "active_file")),
    1: (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
}


def free_memory() -> int:
    """Bytes that this process can still allocate, or a guess where the system reports nothing."""
    limits = list(_limits())
    return max(0, min(limits)) if limits else _physical()


def _limits() -> Iterator[int]:
    """Yield what each limit that the system reports leaves."""
    for limit in (_machine(), *_groups(), *_process()):
        if limit is not None:
            yield limit


def _machine() -> int | None:
    available = _table("/proc/meminfo").get("MemAvailable")
    return None if available is None else available << 10


def _process() -> Iterator[int]:
    """Yield what the limits of the process leave (`ulimit -v`, `ulimit -d`)."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for limit, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            yield soft - (_table("/proc/self/status").get(name, 0) << 10)


def _groups() -> Iterator[int | None]:
    """Yield what the control group of the process and those above it leave."""
    for version, root, path in _memberships():
        inside = root / path.lstrip("/")
        for folder in (inside, *inside.parents):
            yield _group(folder, version)
            if folder == root:  # within a container the root is its own group
                break


def _memberships() -> Iterator[tuple[int, Path, str]]:
    """Yield (version, root, path) of the control groups that count the memory of this process."""
    try:
        lines = Path("/proc/self/cgroup").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            yield 1, GROUPS / "memory", path
        elif not controllers:
            yield 2, GROUPS, path


def _group(folder: Path, version: int) -> int | None:
    """Return the free bytes of a control group; files in its cache can be dropped."""
    limit_file, used_file, droppable = FILES[version]
    try:
        limit = int((folder / limit_file).read_text("ascii"))
        if limit >= ENDLESS:
            return None
        used = int((folder / used_file).read_text("ascii"))
    except (OSError, ValueError):  # not there, or `max`
        return None
    statistics = _table(folder / "memory.stat")
    return limit - used + sum(statistics.get(x, 0) for x in droppable)


def _table(path: str | Path) -> dict[str, int]:
    """Read lines of a name and a number; empty where there is no such file."""
    try:
        text = Path(path).read_text("ascii")
    except (OSError, ValueError):
        return {}
    words = [line.split() for line in text.replace(":", " ").splitlines()]
    return {x[0]: int(x[1]) for x in words if len(x) > 1 and x[1].isdigit()}


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return UNKNOWN
