"""The end of a run by a signal, or by the loss of another process, as commands report it."""

from opdsl.diagnostics import OpError
from opdsl.parallel.launch import lost
from opdsl.parallel.processes import current, is_lost_connection, several
from opdsl.train.engine.signals import Interrupted

__all__ = ["Interrupted", "lost_connection", "reports"]


def reports(error: BaseException) -> bool:
    """Return whether this process is the one of several that reports an error."""
    processes = current()
    return processes is None or processes.speaks(error)


def lost_connection(error: BaseException) -> OpError | None:
    """Return the OP0805 for an exception that says that another process is gone."""
    if not several() or not is_lost_connection(error):
        return None
    return lost(None, "is gone: the connection to it was lost")
