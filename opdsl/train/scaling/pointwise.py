"""Pointwise maps of inputs and outputs before they are normalised, and their inverses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from opdsl.train.config.transforms import WORDS, PointwiseMap
from opdsl.train.metrics.norms import power_of_two

Formula = Callable[[Tensor, float, float], Tensor]

FORWARD: dict[str, Formula] = {
    "log": lambda x, _a, _b: x.log(),
    "log1p": lambda x, _a, _b: x.log1p(),
    "asinh": lambda x, a, _b: (x / a).asinh(),
    "clip": lambda x, a, b: x.clamp(a, b),
}
BACK: dict[str, Formula] = {
    "log": lambda y, _a, _b: y.exp(),
    "log1p": lambda y, _a, _b: y.expm1(),
    "asinh": lambda y, a, _b: y.sinh() * a,
    "clip": lambda y, _a, _b: y,
}
NAMES = tuple(WORDS)


class PointwiseMaps(nn.Module):
    """Maps that are applied one after the other at each point, with `back` as their inverse.

    Args:
        maps: in the order in which they are applied.
        unit: a power of two by which the values were divided before.
    """

    code: Tensor

    def __init__(self, maps: Sequence[PointwiseMap], unit: float = 1.0) -> None:
        super().__init__()
        self.maps, self.unit = tuple(maps), unit
        rows = [[float(NAMES.index(x.name)), *x.arguments] for x in self.maps]
        # the bits of float64 as integers, which no change of the dtype of weights rounds
        bits = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3).view(torch.int64)
        self.register_buffer("code", bits)

    @classmethod
    def of_code(cls, code: Tensor) -> PointwiseMaps:
        """Rebuild the maps from their code in a checkpoint.

        Raises:
            ValueError: there is no such map.
        """
        if code.dtype != torch.int64 or code.dim() != 2 or code.shape[1] != 3:
            raise ValueError("maps are rows of three numbers")
        maps = []
        for number, first, second in code.view(torch.float64).tolist():
            if number not in range(len(NAMES)):
                raise ValueError(f"there is no map of number {number:g}")
            maps.append(PointwiseMap(NAMES[int(number)], (first, second)))
        return cls(maps)

    def forward(self, x: Tensor) -> Tensor:
        """Map values in physical units."""
        x = x if self.unit == 1 else x * self.unit
        for m in self.maps:
            x = FORWARD[m.name](x, *m.arguments)
        return x

    def back(self, y: Tensor) -> Tensor:
        """Map values back to physical units; `clip` has no inverse and leaves them."""
        for m in reversed(self.maps):
            y = BACK[m.name](y, *m.arguments)
        return y if self.unit == 1 else y * (1 / self.unit)

    def in_unit(self, unit: float) -> PointwiseMaps:
        """Return the maps for values that are divided by `unit`, a power of two."""
        return PointwiseMaps(self.maps, unit).to(self.code.device)

    def deviation(self, mean: Tensor, std: Tensor) -> Tensor:
        """Return half the distance in physical units between mean - std and mean + std."""
        low, high = (self.back(mean.double() + s * std.double()) for s in (-1, 1))
        half = (high - low).abs() / 2
        limits = torch.finfo(torch.float32)
        return half.clamp(limits.tiny, limits.max / 4).float()

    def physical_unit(self, mean: Tensor, std: Tensor) -> float:
        """Return a power of two near the greatest deviation in physical units."""
        return float(power_of_two(self.deviation(mean, std).amax()))

    def outside(self, x: Tensor) -> Tensor | None:
        """Return which values a map is not defined for, as x; None if all maps always are."""
        bad: Tensor | None = None
        x = x if self.unit == 1 else x * self.unit
        for m in self.maps:
            if m.word.above is not None:
                wrong = ~(x > m.word.above)
                bad = wrong if bad is None else bad | wrong
            x = FORWARD[m.name](x, *m.arguments)
        return bad
