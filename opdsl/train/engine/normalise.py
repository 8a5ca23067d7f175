"""Channels to mean 0 and deviation 1, and back; part of every checkpoint.

The loss is taken after going back, in physical units: a relative error of shifted values is
another quantity (where the mean is large it is much larger), and the metric would not be the loss.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.train.config.schema import Normalise
from opdsl.train.engine.loader import (
    AnySampleSet,
    FieldUnits,
    FieldValues,
    PointSampleSet,
    StreamedSet,
)
from opdsl.train.engine.rollout import Rollout
from opdsl.train.metrics.norms import power_of_two, step_weights
from opdsl.train.metrics.quadrature import Samplings, field_weights

CONSTANT = 1e-7  # a deviation below this fraction of the mean is rounding of float32
CHUNK = 64  # samples converted to float64 at a time


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
        return (x - _per_channel(self.mean, x)) / _per_channel(self.std, x)

    def back(self, x: Tensor) -> Tensor:
        """Convert normalised values to physical units, (batch, channels, *grid)."""
        return x * _per_channel(self.std, x) + _per_channel(self.mean, x)

    @property
    def unit(self) -> float:
        """A power of two near the greatest deviation."""
        return float(power_of_two(self.std.amax()))

    def in_unit(self, unit: float) -> "ChannelScale":
        """Return the scale for values that are divided by `unit`, a power of two."""
        scale = ChannelScale(self.mean / unit, self.std / unit)
        return scale.to(self.mean.dtype)


class Normaliser(nn.Module):
    """A `ChannelScale` for each input and each output, by name."""

    def __init__(
        self, inputs: Mapping[str, ChannelScale], outputs: Mapping[str, ChannelScale]
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleDict({f"in_{k}": v for k, v in inputs.items()})
        self.scales.update({f"out_{k}": v for k, v in outputs.items()})
        self.outputs = tuple(outputs)

    @classmethod
    def fit(
        cls,
        train: AnySampleSet,
        kinds: Normalise,
        loop: Rollout | None = None,
        samplings: Samplings | None = None,
    ) -> "Normaliser":
        """Compute mean and deviation of the training samples, in float64 and over all steps.

        They are integrals over the domains of all samples, weighted by quadrature weights where
        `samplings` or the samples know them; elsewhere all points count alike.

        Args:
            train: the samples.
            kinds: which statistics.
            loop: how steps in time follow each other, if there is an axis of time.
            samplings: of fields on a sphere, see `opdsl.train.metrics.quadrature`.
        """
        if isinstance(train, StreamedSet):
            train = train.read(range(len(train)))
        weights_on_points = train.weights if isinstance(train, PointSampleSet) else {}
        weights = field_weights(train.inputs | train.outputs, samplings or {}, weights_on_points)
        timed = {k: v for k, v in train.outputs.items() if loop}
        timed |= {k: v for k, v in train.inputs.items() if loop and loop.timed(k, v)}
        weights |= {
            k: w for k, v in timed.items() if (w := step_weights(weights.get(k), v)) is not None
        }
        ins = {k: _all_steps(all_values(v), k, loop) for k, v in train.inputs.items()}
        outs = {k: _steps(all_values(v), loop) for k, v in train.outputs.items()}
        return cls(
            {k: _scale(v, kinds.inputs, weights.get(k)) for k, v in ins.items()},
            {k: _scale(v, kinds.outputs, weights.get(k)) for k, v in outs.items()},
        )

    def units(self, loop: Rollout | None = None) -> FieldUnits:
        """Return units in which the values of each field are near one.

        An output that comes back as an input has the unit of that input.
        """
        outputs = {k.removeprefix("out_"): x.unit for k, x in self._scales("out_")}
        inputs = {k.removeprefix("in_"): x.unit for k, x in self._scales("in_")}
        back = {to: outputs.get(source, 1.0) for source, to in (loop.feedback if loop else ())}
        return FieldUnits(inputs | back, outputs)

    def in_units(self, units: FieldUnits) -> "Normaliser":
        """Return the normaliser for values that are divided by these units."""
        ins = ((k.removeprefix("in_"), x) for k, x in self._scales("in_"))
        outs = ((k.removeprefix("out_"), x) for k, x in self._scales("out_"))
        return Normaliser(
            {k: x.in_unit(units.inputs.get(k, 1.0)) for k, x in ins},
            {k: x.in_unit(units.outputs.get(k, 1.0)) for k, x in outs},
        )

    def with_width(self, of: str, width: str) -> "Normaliser":
        """Keep the output `of` and add an output `width` in units of its deviation."""
        scales = {k.removeprefix("out_"): x for k, x in self._scales("out_")}
        std = scales[of].std
        ins = {k.removeprefix("in_"): x for k, x in self._scales("in_")}
        return Normaliser(
            ins, {of: scales[of], width: ChannelScale(torch.zeros_like(std), std.clone())}
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "Normaliser":
        """Rebuild a normaliser from its `state_dict` in a checkpoint."""
        return cls(_scales(state, "in_"), _scales(state, "out_"))

    def encode(self, inputs: FieldValues) -> FieldValues:
        """Normalise inputs; names without statistics stay, and the module rejects unknown names."""
        scales = self.scales
        return {
            k: map_values(x, scales[f"in_{k}"]) if f"in_{k}" in scales else x
            for k, x in inputs.items()
        }

    def decode(self, outputs: Values | FieldValues) -> FieldValues:
        """Convert outputs of the module to physical units, by name, in float32 or better."""
        by_name = outputs if isinstance(outputs, dict) else {self.outputs[0]: outputs}
        return {k: map_values(x, partial(self._back, k)) for k, x in by_name.items()}

    def deviation(self, name: str, like: Values) -> Tensor:
        """Return the deviation of an output, which broadcasts against (batch, channels, *grid)."""
        return _per_channel(dict(self._scales("out_"))[f"out_{name}"].std, all_values(like))

    def _back(self, name: str, x: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        scale = dict(self._scales("out_")).get(f"out_{name}")
        return scale.back(wide) if scale else wide  # an output without data has no scale

    def _scales(self, prefix: str) -> Iterator[tuple[str, ChannelScale]]:
        for name, scale in self.scales.items():
            if name.startswith(prefix):
                assert isinstance(scale, ChannelScale)
                yield name, scale


def _per_channel(row: Tensor, x: Tensor) -> Tensor:
    """Reshape (channels,) to broadcast against (batch, channels, *grid)."""
    return row.reshape(-1, *[1] * (x.dim() - 2))


def _scale(x: Tensor, kind: str, weights: Values | None) -> ChannelScale:
    channels = x.shape[1]
    if kind == "none":
        return ChannelScale(torch.zeros(channels), torch.ones(channels))
    w = torch.ones(1, 1, *x.shape[2:]) if weights is None else all_values(weights)
    w = w.expand(-1, -1, *x.shape[2:])
    pairs = partial(_weighted_chunks, x, w)
    total = torch.stack([v.sum(_but_channels(c)) for c, v in pairs()]).sum(0)
    total = torch.where(total > 0, total, 1.0)  # a channel without values has the mean 0
    mean = torch.stack([(c * v).sum(_but_channels(c)) for c, v in pairs()]).sum(0) / total
    squares = [((c - _per_channel(mean, c)) ** 2 * v).sum(_but_channels(c)) for c, v in pairs()]
    return ChannelScale(mean, _deviation((torch.stack(squares).sum(0) / total).sqrt(), mean))


def _weighted_chunks(x: Tensor, weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield some samples in float64 and their weights; values that are masked are zero."""
    for rows in torch.split(torch.arange(len(x)), CHUNK):
        c, w = x[rows].double(), weights if len(weights) == 1 else weights[rows]
        w = w.double().expand(c.shape[0], -1, *c.shape[2:])
        yield torch.where(w > 0, c, 0.0), w


def _deviation(std: Tensor, mean: Tensor) -> Tensor:
    """Return the deviations; a constant channel gets a positive size in the same unit.

    It is |mean|, or the largest deviation or |mean| of all channels where the mean is zero: with 1
    the result of a run would depend on the unit of its data.
    """
    size = torch.where(mean == 0, torch.maximum(std, mean.abs()).amax(), mean.abs())
    size = torch.where(size == 0, torch.ones_like(size), size)
    return torch.where(std > CONSTANT * mean.abs(), std, size)


def _all_steps(x: Tensor, name: str, loop: Rollout | None) -> Tensor:
    return _steps(x, loop) if loop and loop.timed(name, x) else x


def _steps(x: Tensor, loop: Rollout | None) -> Tensor:
    return x.flatten(0, 1) if loop else x


def _but_channels(x: Tensor) -> list[int]:
    return [d for d in range(x.dim()) if d != 1]


def _scales(state: Mapping[str, Tensor], prefix: str) -> dict[str, ChannelScale]:
    start = f"scales.{prefix}"
    names = [
        k[len(start) : -len(".mean")] for k in state if k.startswith(start) and k[-5:] == ".mean"
    ]
    return {n: ChannelScale(state[f"{start}{n}.mean"], state[f"{start}{n}.std"]) for n in names}
