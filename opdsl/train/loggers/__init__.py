"""The loggers that the setting `log` chooses from: one module each, with `LOGGER`.

Other packages add loggers through the entry-point group `opdsl.loggers`, name to `LoggerEntry`.
Neither this module nor ours below import the package of a logger before one is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path
from typing import Any, Protocol

from opdsl.diagnostics import fault
from opdsl.registry import Registry


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """What a logger knows of a run when it is opened.

    Attributes:
        folder: of the run.
        settings: the dotted name and the value of every setting.
        step: finished steps, more than zero in a run that goes on.
    """

    folder: Path
    settings: Mapping[str, Any]
    step: int


class LogSink(Protocol):
    """Receives the numbers of a run, in a thread of its own."""

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        """Record finite numbers by name, such as `valid/rel_l2`, after a step."""

    def close(self) -> None:
        """Write everything that is left."""


@dataclass(frozen=True, slots=True)
class LoggerEntry:
    """A logger.

    Attributes:
        description: for the reference: where it writes, and how to look at it.
        package: the module that has to be importable.
        extra: the extra of opdsl that installs it.
        open: makes the sink of a run.
    """

    description: str
    package: str
    extra: str
    open: Callable[[LoggedRun], LogSink]

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", cleandoc(self.description))


LOGGERS: Registry[LoggerEntry] = Registry(__name__, "LOGGER", "opdsl.loggers")


def refuse_missing(names: list[str]) -> None:
    """Refuse loggers whose packages are not installed.

    Raises:
        OpError: OP0645.
    """
    for name in names:
        entry = LOGGERS.find(name)
        assert entry is not None  # the settings have refused other names
        if find_spec(entry.package) is None:
            message = f"`log = {name}` needs the package `{entry.package}`"
            helps = (f"install it: `pip install 'opdsl[{entry.extra}]'`", "or leave `log` out")
            raise fault("OP0645", message, helps=helps)
