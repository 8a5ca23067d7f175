"""Files with an input and an output field, or fields in time, on an interval or a square.

The problems of this folder that have such files share their settings, limits and writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from opdsl.data.derive.coarsen import Layout, layout_of
from opdsl.data.interrupt import deferred_signals
from opdsl.data.io.memory_budget import data_budget
from opdsl.data.io.well_writing import WellLayout, write_well
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import OpError, fault
from opdsl.sampling import PERIODIC, SAMPLINGS, GridSampling, positions

if TYPE_CHECKING:
    from opdsl.data.bind.samples import Role

Floats = NDArray[np.float64]
PAIR: dict[str, Role] = {"initial": "input", "final": "output"}  # of problems in time
FieldPair = Mapping[str, Floats]

MOST_POINTS = {1: 1 << 16, 2: 1 << 12}  # on each axis, by the number of axes
MOST_SAMPLES = 1 << 31
MOST_WORKERS = 256
COPIES = 8  # of a field in float64 that computing a sample takes
ENDS: dict[GridSampling, tuple[int, ...]] = {"both": (0, -1), "lower": (0,), "upper": (-1,)}


class FileOptions(TypedDict):
    """The options of every file of samples on a grid, see `GridSettings`."""

    resolution: int
    samples: int
    seed: int
    out: Path
    workers: NotRequired[int]


class GridOptions(FileOptions):
    """The options of a problem whose solutions can be evaluated anywhere, see `GridSettings`."""

    sampling: NotRequired[GridSampling]


@dataclass(frozen=True, slots=True)
class GridSettings:
    """The settings that all of these problems have.

    Attributes:
        problem: its name in diagnostics.
        axes: names of the axes, each of them [start, start + length].
        resolution: points on each axis.
        samples: the number of samples.
        seed: 0 to 2^64 - 1.
        out: the file to write or to replace.
        sampling: which ends of an axis carry a point, or cell centres.
        workers: processes that compute samples in parallel.
        periodic: whether both ends of an axis are one point.
        length: of every axis.
        start: the lower end of every axis.
        frames: intervals of time that a sample records.
    """

    problem: str
    axes: tuple[str, ...]
    resolution: int
    samples: int
    seed: int
    out: Path
    sampling: GridSampling = "both"
    workers: int = 1
    periodic: bool = False
    length: float = 1.0
    start: float = 0.0
    frames: int = 0

    def refuse_bad(self, *wrong: tuple[str, bool]) -> None:
        """Refuse settings that do not fit: the common ones, and those of the problem.

        Args:
            wrong: a message about each setting of the problem, and whether it applies.

        Raises:
            OpError: OP0604, a setting does not fit.
        """
        n, most = self.resolution, MOST_POINTS[len(self.axes)]
        samplings = PERIODIC if self.periodic else SAMPLINGS
        common = [
            (f"a resolution of {n} points; it is 3 to {most}", not 3 <= n <= most),
            (
                f"{self.samples} samples; it is 1 to {MOST_SAMPLES}",
                not 1 <= self.samples <= MOST_SAMPLES,
            ),
            (f"the seed {self.seed}; it is one of 0 to 2^64 - 1", not 0 <= self.seed < 1 << 64),
            (
                f"the sampling `{self.sampling}`; it is one of {', '.join(samplings)}",
                self.sampling not in samplings,
            ),
            (
                f"{self.workers} workers; it is 1 to {MOST_WORKERS}",
                not 1 <= self.workers <= MOST_WORKERS,
            ),
        ]
        for message, is_wrong in (*common, *wrong):
            if is_wrong:
                raise fault("OP0604", f"cannot make {self.problem} data with {message}")
        self._refuse_too_large()

    def _refuse_too_large(self) -> None:
        copies = COPIES + 2 * self.frames
        if copies * 8 * self.resolution ** len(self.axes) > data_budget():
            message = f"{self.resolution} points on each axis; the free memory is too small"
            raise fault("OP0604", f"cannot make {self.problem} data with {message}")

    @staticmethod
    def outside(name: str, value: float, limits: tuple[float, float]) -> tuple[str, bool]:
        """Return a message about a value, and whether it is outside the limits."""
        low, high = limits
        return f"the {name} {value:g}; it is {low:g} to {high:g}", not low <= value <= high

    def unsound(self, message: str) -> OpError:
        """Return OP0617: a check of the generator failed."""
        return fault(
            "OP0617",
            message,
            notes=("no file was written",),
            helps=("this is a fault of the generator or of the libraries below it: report it",),
            file=str(self.out),
        )

    @property
    def extent(self) -> str:
        """The size of a sample in words."""
        return f"at {'x'.join([str(self.resolution)] * len(self.axes))}"


def write_pairs(
    settings: GridSettings,
    name: str,
    roles: Mapping[str, Role],
    pairs: Iterable[FieldPair],
    parameters: Mapping[str, str | int | float],
    progress: ProgressCallback | None,
    times: Sequence[float] = (0.0,),
) -> None:
    """Write the samples, fields (resolution, ..., resolution) by name, whole or not at all.

    Args:
        settings: the settings.
        name: of the data set.
        roles: field -> input or output.
        pairs: as many samples as the settings say.
        parameters: of the problem, which become attributes of the file.
        progress: is called with the samples done and all samples.
        times: of fields (times, resolution, ..., resolution) that vary in time.

    Raises:
        OpError: OP0617, a number is not finite; OP0625, the file cannot be written.
    """
    with (
        deferred_signals() as interrupted,
        write_well(settings.out, _plan(settings, name, roles, parameters, times)) as put,
    ):
        for index, pair in enumerate(pairs):
            values = {k: np.asarray(v, np.float32) for k, v in pair.items()}
            if not all(np.isfinite(v).all() for v in values.values()):
                raise settings.unsound(f"sample {index} has a number that is not finite")
            put(index, values)
            if progress:
                progress(index + 1, settings.samples)
            interrupted()


def _plan(
    settings: GridSettings,
    name: str,
    roles: Mapping[str, Role],
    parameters: Mapping[str, str | int | float],
    times: Sequence[float],
) -> WellLayout:
    fractions = np.array(positions(settings.sampling, settings.resolution))
    points = settings.start + settings.length * fractions
    common = {"seed": str(settings.seed), "sampling": settings.sampling}
    return WellLayout(
        name=name,
        axes=dict.fromkeys(settings.axes, points),
        roles=roles,
        count=settings.samples,
        boundary="PERIODIC" if settings.periodic else "WALL",
        layout=_layout(settings),
        parameters={**parameters, **common},
        walls=ENDS.get(settings.sampling, ()),
        times=times,
    )


def _layout(settings: GridSettings) -> Layout:
    """Return which points a coarser grid may keep."""
    return layout_of(settings.sampling, periodic=settings.periodic)
