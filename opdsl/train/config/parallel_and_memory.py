"""Settings of runs larger than a process or a device: `parallel`, and the limit `memory`."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from opdsl.train.config.section import FREE, AtLeastOne, Section, nothing

UNITS = {"B": 1} | {f"{x}B": 1000**i for i, x in enumerate("kMGT", 1)}
UNITS |= {"KB": 1000} | {f"{x}iB": 1024**i for i, x in enumerate("KMGT", 1)}
EXAMPLE = 'a number and a unit, as in "8 GB", "900 MB" or "7.5 GiB"'
TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_bytes(text: str) -> int:
    """Return the bytes of a text such as `8 GB` (8 * 1000^3) or `7.5 GiB` (7.5 * 1024^3).

    Raises:
        ValueError: it is no such text, or less than one byte.
    """
    found = TEXT.fullmatch(text)
    if found is None or found[2] not in UNITS:
        raise ValueError(f"`{text}` is not {EXAMPLE}")
    size = int(float(found[1]) * UNITS[found[2]])
    if size < 1:
        raise ValueError(f"`{text}` is less than one byte")
    return size


def _limit(value: Any) -> Any:
    """Check the text; `none` is no limit."""
    if isinstance(value, str) and value != "none":
        parse_bytes(value)
        return str(value)
    return nothing(value)


LimitText = Annotated[str, Field(json_schema_extra={"words": EXAMPLE})]
MemoryLimit = Annotated[LimitText | None, BeforeValidator(_limit), FREE]


def _axes(value: Any) -> Any:
    """Convert the words of a program to plain texts."""
    return str(value) if isinstance(value, str) else value


SpaceParts = Annotated[
    AtLeastOne
    | Annotated[Literal["auto"], Field(json_schema_extra={"words": "auto"})]
    | dict[str, AtLeastOne],
    BeforeValidator(_axes),
    Field(
        json_schema_extra={
            "resume": "free",
            "words": "a whole number from 1, auto, or parts of axes in braces: x = 2",
        }
    ),
]
SharingStrategy = Annotated[Literal["ddp", "fsdp"], Field(json_schema_extra={"resume": "free"})]


class Parallel(Section):
    """`parallel { space = 2 strategy = fsdp }`: how several processes share a run.

    The processes that are not needed for `space` share the samples of each batch. A run in one
    process ignores the section.

    Attributes:
        strategy: `ddp`: each process has all weights; `fsdp`: each has a part of the weights, of
            their gradients and of the optimizer's moments, and gathers them where it needs them.
        space: processes that share the grid of a sample: a number, of which the planner chooses the
            axis, `auto`, or the parts of each axis: `space { x = 2 }`.
    """

    strategy: SharingStrategy = "ddp"
    space: SpaceParts = 1

    @property
    def space_count(self) -> int | None:
        """The number of processes that share a sample; None where the planner chooses it."""
        if isinstance(self.space, dict):
            count = 1
            for parts in self.space.values():
                count *= parts
            return count
        return None if self.space == "auto" else int(self.space)
