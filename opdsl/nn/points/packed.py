"""Functions on points whose number differs from sample to sample.

`Packed` stores the samples one after the other along the axis of points, so that a layer which acts
at each point on its own takes them as one sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from opdsl.diagnostics import fault


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A batch of functions, each on points of its own.

    Attributes:
        values: (1, channels, total), the samples one after the other.
        sizes: number of points of each sample; they sum to `total`.

    Raises:
        OpError: OP0901, values have another shape; OP0906, sizes do not fit the values.
    """

    values: Tensor
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or len(self.values) != 1:
            description = f"packed values have the shape {tuple(self.values.shape)}"
            helps = ("expected (1, channels, points of all samples); `Packed.of` makes them",)
            raise fault("OP0901", description, helps=helps, file="Packed")
        if sum(self.sizes) != self.values.shape[-1] or min(self.sizes, default=0) < 1:
            description = (
                f"{self.values.shape[-1]} packed values, and samples of {self.sizes} points"
            )
            helps = ("each sample has at least one point, and together they have all",)
            raise fault("OP0906", description, helps=helps, file="Packed")

    @classmethod
    def of(cls, parts: Iterable[Tensor]) -> Packed:
        """Pack samples, each (channels, points).

        Raises:
            OpError: OP0901, a sample has another shape, or there is none.
        """
        parts = tuple(parts)
        wrong = [x for x in parts if x.ndim != 2 or x.shape[0] != parts[0].shape[0]]
        if wrong or not parts:
            description = (
                f"a sample has the shape {tuple(wrong[0].shape)}" if wrong else "no samples"
            )
            helps = ("give (channels, points) of each sample, as many channels in all",)
            raise fault("OP0901", description, helps=helps, file="Packed.of")
        return cls(torch.cat(parts, 1)[None], tuple(x.shape[1] for x in parts))

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The samples, each (channels, points)."""
        return torch.split(self.values[0], list(self.sizes), 1)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.values.shape[1]

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, rows: Sequence[int] | Tensor) -> Packed:
        """Select samples, in the order of `rows`."""
        ends = list(accumulate(self.sizes))
        chosen = [range(len(ends))[int(i)] for i in rows]  # -1 is the last
        # not `parts`, which would split all samples where a batch needs few
        return Packed.of(self.values[0, :, ends[i] - self.sizes[i] : ends[i]] for i in chosen)

    def map(self, change: Callable[[Tensor], Tensor]) -> Packed:
        """Apply `change`, which maps (1, c, total) to (1, c', total), to the values."""
        return Packed(change(self.values), self.sizes)
