"""An axis of a grid: its ends, the conditions there, where its points are, and its resolutions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from opdsl.bases import EndCondition, EndConditions
from opdsl.sampling import PERIODIC, GridSampling, default_sampling

Condition = Literal["periodic", "dirichlet", "neumann", "none"]
Boundary = Condition | tuple[EndCondition, EndCondition]
FROZEN = ConfigDict(frozen=True, extra="forbid")


class Axis(BaseModel):
    """One axis of a grid and what the program promises about its number of points.

    Attributes:
        lo, hi: the ends of the interval, in the program's unit of length.
        boundary: the condition at both ends, or one for each end, the lower one first.
        sampling: which ends carry points; None: `lower` on a periodic axis, else `both`.
        min, max, multiple_of: the resolutions that the program promises to accept.
        fixed: the only resolution that is accepted.
        size: the resolution that the program gives to a latent grid.
    """

    model_config = FROZEN

    name: str
    lo: float = 0.0
    hi: float = 1.0
    boundary: Boundary = "none"
    min: int = 1
    max: int | None = None
    multiple_of: int = 1
    fixed: int | None = None
    size: int | None = None
    sampling: GridSampling | None = None

    @field_validator("boundary")
    @classmethod
    def _one_word(cls, boundary: Boundary) -> Boundary:
        """Write a condition that holds at both ends as one word."""
        if isinstance(boundary, tuple) and boundary[0] == boundary[1]:
            return boundary[0]
        return boundary

    @model_validator(mode="after")
    def _placeable(self) -> Axis:
        if self.periodic and self.sampling not in (None, *PERIODIC):
            raise ValueError(f"a periodic axis is sampled at one of: {', '.join(PERIODIC)}")
        return self

    @model_serializer(mode="wrap")
    def _without_default(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `sampling` where it is not declared, as files of older versions do."""
        fields: dict[str, Any] = dump(self)
        if self.sampling is None:
            fields.pop("sampling", None)
        return fields

    @property
    def points(self) -> GridSampling:
        """Where the points are: the declared sampling or its default."""
        return self.sampling or default_sampling(periodic=self.periodic)

    @property
    def ends(self) -> EndConditions | None:
        """The conditions at the lower and at the upper end; None on a periodic axis."""
        if isinstance(self.boundary, tuple):
            return self.boundary
        return None if self.boundary == "periodic" else (self.boundary, self.boundary)

    @property
    def periodic(self) -> bool:
        """Whether the axis closes on itself."""
        return self.boundary == "periodic"

    @property
    def least(self) -> int:
        """The smallest resolution that is promised to work."""
        pinned = self.fixed or self.size
        return pinned or -(-self.min // self.multiple_of) * self.multiple_of

    @property
    def pinned(self) -> bool:
        """Whether one resolution only is possible."""
        return self.fixed is not None or self.size is not None
