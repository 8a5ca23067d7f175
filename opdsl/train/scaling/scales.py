"""Shift and scale of one input or output: for each channel, for each point, or for each sample.

A scale maps x to (x - mean) / deviation and back. Statistics of a sample are those of a function
that is an input, so that a prediction knows them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from opdsl.diagnostics import fault
from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.nn.points.packed import Packed
from opdsl.train.metrics.norms import power_of_two
from opdsl.train.scaling.axis_rules import PointRule, grid_quadrature

CONSTANT = 1e-7  # a deviation below this fraction of the mean is rounding of float32

SampleStatistics = tuple[Tensor, Tensor]  # mean and deviation of each sample, (batch, channels)


class ChannelScale(nn.Module):
    """The map x -> (x - mean) / std of each channel, with `back` as its inverse.

    Args:
        mean: (channels,).
        std: (channels,), positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, *grid) in physical units."""
        return (x - per_channel(self.mean, x)) / per_channel(self.std, x)

    def back(self, x: Tensor) -> Tensor:
        """Convert normalised values to physical units, (batch, channels, *grid)."""
        return x * per_channel(self.std, x) + per_channel(self.mean, x)

    @property
    def typical(self) -> tuple[Tensor, Tensor]:
        """A mean and a deviation of the values, (channels,)."""
        return self.mean, self.std

    @property
    def unit(self) -> float:
        """A power of two near the greatest deviation."""
        return float(power_of_two(self.std.amax()))

    def in_unit(self, unit: float) -> ChannelScale:
        """Return the scale for values that are divided by `unit`, a power of two."""
        scale = ChannelScale(self.mean / unit, self.std / unit)
        return scale.to(self.mean.dtype)

    def centred(self) -> ChannelScale:
        """Return the scale with mean 0."""
        return ChannelScale(torch.zeros_like(self.std), self.std.clone())


class PointScale(nn.Module):
    """The map x -> (x - mean) / std of each point and channel, with `back` as its inverse.

    On another grid the statistics are interpolated linearly along each axis, and constant beyond
    the outermost points of axes with ends.

    Args:
        mean: (channels, *grid).
        std: (channels, *grid); zero where all values are equal, for outputs only.
        rules: of the axes of the grid; none for points, whose number is fixed.
    """

    mean: Tensor
    std: Tensor
    rules_code: Tensor

    def __init__(self, mean: Tensor, std: Tensor, rules: Sequence[PointRule] = ()) -> None:
        super().__init__()
        self.rules = tuple(rules)
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())
        codes = torch.tensor([x.code for x in self.rules], dtype=torch.int64)
        self.register_buffer("rules_code", codes.reshape(-1, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, *grid) in physical units."""
        return (x - self._on(self.mean, x)) / self._on(self.std, x)

    def back(self, x: Tensor) -> Tensor:
        """Convert normalised values to physical units, (batch, channels, *grid)."""
        return x * self._on(self.std, x) + self._on(self.mean, x)

    @property
    def typical(self) -> tuple[Tensor, Tensor]:
        """A mean and a deviation of the values, (channels,)."""
        return self.mean.flatten(1).mean(1), self.std.flatten(1).square().mean(1).sqrt()

    @property
    def unit(self) -> float:
        """A power of two near the greatest deviation."""
        return float(power_of_two(self.std.amax()))

    def in_unit(self, unit: float) -> PointScale:
        """Return the scale for values that are divided by `unit`, a power of two."""
        scale = PointScale(self.mean / unit, self.std / unit, self.rules)
        return scale.to(self.mean.device, self.mean.dtype)

    def centred(self) -> PointScale:
        """Return the scale with mean 0."""
        return PointScale(torch.zeros_like(self.mean), self.std.clone(), self.rules)

    def deviation(self, like: Tensor) -> Tensor:
        """Return positive deviations that broadcast against (batch, channels, *grid)."""
        std = self._on(self.std, like)
        return torch.where(std > 0, std, std.amax())

    def _on(self, values: Tensor, like: Tensor) -> Tensor:
        """Interpolate to the grid of a function, (1, channels, *grid)."""
        sizes = like.shape[2:]
        # a comparison of sizes would bind an exported program to them
        if not torch.compiler.is_compiling() and sizes == values.shape[1:]:
            return values[None]
        if len(self.rules) != len(sizes):
            have = " x ".join(map(str, values.shape[1:]))
            message = f"statistics of each of {have} points, and a function on {sizes[-1]} points"
            helps = ("give it on the points of training", "or train with `normalise = channel`")
            raise fault("OP0670", message, helps=helps)
        for axis, (rule, n) in enumerate(zip(self.rules, sizes, strict=True), start=1):
            if torch.compiler.is_compiling() or n != values.shape[axis]:
                values = rule.interpolated(values, axis, n)
        return values[None]


class SampleScale(nn.Module):
    """Shift and scale by the mean and deviation of each sample of an input, then of each channel.

    x -> ((x - m) / s - mean) / std, with m and s of the sample, see `statistics`.

    Args:
        centre: a typical m, (channels of the input,).
        size: a typical s, for samples that are constant, (channels of the input,), positive.
        mean: of (x - m) / s in the training data, (channels,); zero for inputs.
        std: its deviation, (channels,), positive; one for inputs.
        rules: of the axes of the grid of the input.
        source: the place of the input among all inputs in alphabetical order.
        ratio: the unit of the input by that of the output.
    """

    centre: Tensor
    size: Tensor
    mean: Tensor
    std: Tensor
    rules_code: Tensor
    source: Tensor

    def __init__(
        self,
        centre: Tensor,
        size: Tensor,
        mean: Tensor,
        std: Tensor,
        rules: Sequence[PointRule],
        source: int,
        ratio: float = 1.0,
    ) -> None:
        super().__init__()
        self.rules, self.ratio, self.number = tuple(rules), ratio, source
        for name, x in (("centre", centre), ("size", size), ("mean", mean), ("std", std)):
            self.register_buffer(name, x.float())
        codes = torch.tensor([x.code for x in self.rules], dtype=torch.int64)
        self.register_buffer("rules_code", codes.reshape(-1, 2))
        self.register_buffer("source", torch.tensor(source))

    def statistics(self, x: Values) -> SampleStatistics:
        """Compute mean and deviation of each sample of the input, (batch, channels) both.

        They are integrals by the quadrature rule of the grid; points count alike. A sample that is
        constant has the deviation of the training data.
        """
        mean, std = sample_statistics(x, self.rules, self.size)
        return mean * self.ratio, std * self.ratio

    def forward(self, x: Values, at: SampleStatistics) -> Values:
        """Normalise (batch, channels, *grid) or packed values by statistics of their samples."""
        m, s = (along(y, x) for y in at)
        return map_values(x, lambda v: self._residual((v - m) / s))

    def back(self, x: Values, at: SampleStatistics) -> Values:
        """Convert normalised values to physical units."""
        m, s = (along(y, x) for y in at)
        return map_values(
            x, lambda v: (v * per_channel(self.std, v) + per_channel(self.mean, v)) * s + m
        )

    def _residual(self, v: Tensor) -> Tensor:
        return (v - per_channel(self.mean, v)) / per_channel(self.std, v)

    @property
    def typical(self) -> tuple[Tensor, Tensor]:
        """A mean and a deviation of the values, (channels,)."""
        channels = len(self.mean)
        centre, size = (_last(x[None], channels)[0] * self.ratio for x in (self.centre, self.size))
        return centre + size * self.mean, size * self.std

    @property
    def unit(self) -> float:
        """A power of two near the greatest deviation."""
        return float(power_of_two(self.typical[1].amax()))

    def in_unit(self, unit: float, of_source: float) -> SampleScale:
        """Return the scale for values divided by `unit` and an input divided by `of_source`."""
        scale = SampleScale(
            self.centre / of_source,
            self.size / of_source,
            self.mean,
            self.std,
            self.rules,
            self.number,
            of_source / unit,
        )
        return scale.to(self.mean.device, self.mean.dtype)

    def centred(self) -> ChannelScale:
        """Return a scale with mean 0 and the typical deviation."""
        std = self.typical[1]
        return ChannelScale(torch.zeros_like(std), std)


ValueScale = ChannelScale | PointScale | SampleScale


def sample_statistics(
    x: Values, rules: Sequence[PointRule], size: Tensor | None
) -> SampleStatistics:
    """Compute mean and deviation of each sample and channel, (batch, channels) both.

    The first value of each sample is subtracted before, so that a constant has deviation 0 and a
    large mean costs no digits.

    Args:
        x: (batch, channels, *grid) or packed.
        rules: of the axes of the grid.
        size: deviations in place of those of constant samples, (channels,); zero if not given.
    """
    v = all_values(x)
    unit = v.new_ones(v.shape[1]) if size is None else power_of_two(size.to(v.dtype))
    if isinstance(x, Packed):
        starts = torch.tensor([0, *x.sizes[:-1]], device=v.device).cumsum(0)
        first = v[0][:, starts].T
        z = (v - along(first, x)) / per_channel(unit, v)
        average = _packed_mean(z, x.sizes)
        variance = _packed_mean((z - along(average, x)) ** 2, x.sizes)
    else:
        first = v.flatten(2)[:, :, 0]
        z = ((v - along(first, v)) / per_channel(unit, v)).flatten(2)
        w = grid_quadrature(rules, v.shape[2:], v)
        w = None if w is None else w.expand(1, 1, *v.shape[2:]).flatten(2)
        average = _dense_mean(z, w)
        variance = _dense_mean((z - average[..., None]) ** 2, w)
    mean = first + average * unit
    constant = variance <= (CONSTANT * (mean / unit)) ** 2
    fallback = torch.zeros_like(unit) if size is None else size.to(v.dtype) / unit
    # the root of a zero has no gradient
    safe = torch.where(constant, 1.0, variance).sqrt()
    return mean, torch.where(constant, fallback, safe) * unit


def _dense_mean(z: Tensor, weights: Tensor | None) -> Tensor:
    return z.mean(-1) if weights is None else (z * weights).sum(-1) / weights.sum(-1)


def _packed_mean(z: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the mean over the points of each sample, (samples, channels)."""
    counts = torch.tensor(sizes, device=z.device)
    rows = torch.repeat_interleave(torch.arange(len(sizes), device=z.device), counts)
    sums = z.new_zeros(len(sizes), z.shape[1]).index_add(0, rows, z[0].T)
    return sums / counts[:, None]


def along(row: Tensor, x: Values) -> Tensor:
    """Expand numbers of each sample, (batch, channels), along the points of a function."""
    row = _last(row, all_values(x).shape[1])
    if isinstance(x, Packed):
        counts = torch.tensor(x.sizes, device=row.device)
        return torch.repeat_interleave(row, counts, 0).T[None]
    return row.reshape(*row.shape, *[1] * (x.dim() - 2))


def _last(row: Tensor, channels: int) -> Tensor:
    """Select the last channels: of a window over steps in time, the newest step."""
    return row if row.shape[1] in (1, channels) else row[:, -channels:]


def per_channel(row: Tensor, x: Tensor) -> Tensor:
    """Reshape (channels,) to broadcast against (batch, channels, *grid)."""
    return row.reshape(-1, *[1] * (x.dim() - 2))


def positive_deviation(std: Tensor, mean: Tensor) -> Tensor:
    """Return the deviations of channels; a constant channel gets a size in the same unit.

    It is |mean|, or the largest deviation or |mean| of all channels where the mean is zero: with 1
    the result of a run would depend on the unit of its data.
    """
    size = torch.where(mean == 0, torch.maximum(std, mean.abs()).amax(), mean.abs())
    size = torch.where(size == 0, torch.ones_like(size), size)
    return torch.where(std > CONSTANT * mean.abs(), std, size)


def point_deviation(std: Tensor, mean: Tensor, channel_std: Tensor, *, exact: bool) -> Tensor:
    """Return the deviations of points; a point with rounding alone is a constant.

    Args:
        std, mean: (channels, *grid).
        channel_std: the deviation of each channel, (channels,), positive.
        exact: whether a constant point gets the deviation 0, so that an output is its mean there;
            else that of its channel, by which an input can be divided.
    """
    typical = channel_std.reshape(-1, *[1] * (std.dim() - 1))
    within = std.flatten(1).square().mean(1).sqrt().reshape(typical.shape)
    typical = torch.where(within > 0, within, typical)
    rounding = CONSTANT * torch.maximum(mean.abs(), typical)
    return torch.where(std > rounding, std, torch.zeros_like(std) if exact else typical)
