"""The section `parallel` of the settings: how several processes share a run."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from opdsl.train.config.section import AtLeastOne, Section


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
