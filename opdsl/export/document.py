"""The schema of a graph file: what `opdsl ir` writes and what is read back.

`Document` checks the types of its parts; `opdsl.export.reading` checks whether they fit together.
`FORMAT` counts changes after which an old reader would misread.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from opdsl.ir.ends import PortEnds
from opdsl.ir.spaces import Domain, Space

FORMAT = 2

NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
PATH = r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9][A-Za-z0-9_]*)*$"
NameField = Annotated[str, Field(pattern=NAME)]
PathField = Annotated[str, Field(pattern=PATH)]
PlaceField = Annotated[str | None, Field(default=None, description="file:line:column, for readers")]

SHAPE = ConfigDict(frozen=True, extra="forbid")


class PortEntry(BaseModel):
    """An input or output; `source` is the node that an output shows, `ends` what is declared."""

    model_config = SHAPE

    name: NameField
    space: Space
    source: Annotated[str, Field(pattern=PATH + r"|^$")] = ""
    doc: str | None = None
    at: PlaceField
    ends: PortEnds | None = None


class NodeEntry(BaseModel):
    """One operation: `params` are those of the block `op`, checked by that block."""

    model_config = SHAPE

    path: PathField
    op: NameField
    params: dict[str, Any]
    inputs: tuple[PathField, ...]
    space: Space
    shares: PathField | None = None
    at: PlaceField


class FeedbackEntry(BaseModel):
    """The output that becomes an input of the next step in time."""

    model_config = SHAPE

    output: NameField
    input: NameField
    at: PlaceField


class ScopeEntry(BaseModel):
    """A part of the program that contains nodes, see `opdsl.ir.graph.Scope`."""

    model_config = SHAPE

    path: PathField
    kind: Literal["binding", "block", "repeat", "iteration", "residual"]
    title: Annotated[str, Field(pattern=r"^[A-Za-z0-9_ ]*$")]
    count: int | None = None
    shared: bool = False
    doc: str | None = None
    at: PlaceField


class Document(BaseModel):
    """A graph file.

    Attributes:
        certificate, hashes: derived from the rest; a reader computes them anew.
    """

    model_config = SHAPE

    format: Literal[2]
    model: NameField
    doc: str | None = None
    edition: int
    params: dict[str, JsonValue] = Field(default_factory=dict)
    domains: tuple[Domain, ...]
    inputs: tuple[PortEntry, ...]
    outputs: tuple[PortEntry, ...] = Field(min_length=1)
    nodes: tuple[NodeEntry, ...]
    feedback: tuple[FeedbackEntry, ...] = ()
    scopes: tuple[ScopeEntry, ...] = ()
    certificate: dict[str, Any] | None = None
    hashes: dict[str, str] | None = None
