"""Memory that one data set may take, against which the sizes that a file declares are checked."""

from opdsl.diagnostics import OpError, fault
from opdsl.memory import free_memory

SHARE = 0.5  # of the free memory: a data set is copied once on its way to float32


def data_budget() -> int:
    """Bytes that the fields of one data set may take, by the memory that is free now."""
    return int(SHARE * free_memory())


class TooLargeError(OpError):
    """OP0610 about sound data that do not fit into memory."""


def too_large_for_memory(what: str, size: int, cap: int, source: str) -> TooLargeError:
    """Make OP0610 about something that needs more bytes than the budget."""
    error = fault(
        "OP0610",
        f"{what} would take {_readable(size)}, and there is room for {_readable(cap)}",
        helps=("read fewer samples or a coarser resolution, or use a machine with more memory",),
        file=source,
    )
    return TooLargeError(*error.diagnostics)


def _readable(size: int) -> str:
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min(max(size.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{size / (1 << 10 * power):.3g} {units[power]}"
