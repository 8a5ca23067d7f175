"""The section `patches` of the settings: multi-grid domain decomposition."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from opdsl.train.config.section import FIXED, FREE, AtLeastOne, Section, nothing

Overlap = Annotated[float, Field(ge=0, lt=1)]
PartsOfAxes = Annotated[list[AtLeastOne], Field(min_length=1)]
LevelCount = Annotated[int, Field(ge=0, le=8)]


class Patches(Section):
    """`patches { parts = 2 levels = 1 }`: divide the grid, and see coarser surroundings of a part.

    The model runs on each patch, with its surroundings on coarser grids as further channels, and
    the results are stitched. A step needs the memory of a few patches. See the chapter on
    multi-grid domain decomposition.

    Attributes:
        parts: patches on each axis, one number for all axes or a list with one for each; 1 does not
            divide.
        levels: coarser grids around a patch. Level `l` has as many points as the patch at `2^l`
            times their spacing, so it is `2^l` times as long.
        overlap: what a patch has of its neighbours on each side, as a part of its length; it is cut
            off before the results are stitched.
        padding: values beyond the ends of the domain: `edge` repeats the last one, `zero`, or
            `circular` as on a periodic axis, which is always so.
        at_once: patches that are computed at once; `none` for as many as there are samples in a
            batch. Where a step has more, each is computed again for the gradient.

    Source: Kossaifi et al. 2023, arXiv:2310.00120, section 3.3.
    """

    parts: Annotated[AtLeastOne | PartsOfAxes, FIXED] = 1
    levels: Annotated[LevelCount, FIXED] = 1
    overlap: Annotated[Overlap, FIXED] = 0.125
    padding: Annotated[Literal["edge", "zero", "circular"], FIXED] = "edge"
    at_once: Annotated[AtLeastOne | None, BeforeValidator(nothing), FREE] = None

    @property
    def used(self) -> bool:
        """Whether the grid is divided at all."""
        return any(x != 1 for x in ([self.parts] if isinstance(self.parts, int) else self.parts))
