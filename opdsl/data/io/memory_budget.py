"""Memory that one data set may take, against which the sizes that a file declares are checked."""

import errno

from opdsl.diagnostics import OpError, fault
from opdsl.memory import free_memory

SHARE = 0.5  # of the free memory: a data set is copied once on its way to float32
# how libraries that raise no MemoryError say that memory is short
SHORT = ("allocate memory", "unable to allocate", "memory allocation failed", "not enough memory")


def data_budget() -> int:
    """Bytes that the fields of one data set may take, by the memory that is free now."""
    return int(SHARE * free_memory())


class TooLargeError(OpError):
    """OP0610 about sound data that do not fit into memory."""


BY_ROWS = (
    "training reads .h5, .npz and .pt that are not compressed batch by batch, samples first: "
    "`opdsl data convert FILE -o OUT.h5` writes one"
)


def too_large_for_memory(what: str, size: int, cap: int, source: str, *helps: str) -> TooLargeError:
    """Make OP0610 about something that needs more bytes than the budget."""
    error = fault(
        "OP0610",
        f"{what} would take {_readable(size)}, and there is room for {_readable(cap)}",
        helps=(
            "read fewer samples or a coarser resolution, or use a machine with more memory",
            *helps,
        ),
        file=source,
    )
    return TooLargeError(*error.diagnostics)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is short, and nothing about a file."""
    text = str(error).lower()
    short = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    return short or any(x in text for x in SHORT)


def out_of_memory(source: str) -> TooLargeError:
    """Make OP0610 about a file whose values met a limit of memory while they were read."""
    message = "there is not enough memory to read it; nothing says that the file is damaged"
    helps = ("read fewer samples or a coarser resolution, or raise the limit of memory",)
    return TooLargeError(*fault("OP0610", message, helps=helps, file=source).diagnostics)


def _readable(size: int) -> str:
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min(max(size.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{size / (1 << 10 * power):.3g} {units[power]}"
