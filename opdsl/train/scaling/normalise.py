"""Normalised values of inputs and outputs, and back; part of every checkpoint.

Pointwise maps come first, then a shift and a scale. The loss is taken after going back, in physical
units: a relative error of shifted values is another quantity (where the mean is large it is much
larger), and the metric would not be the loss.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from opdsl.nn.points.batch import Values, all_values, map_values
from opdsl.train.config.schema import Normalise
from opdsl.train.config.transforms import PointwiseMap
from opdsl.train.engine.loader import AnySampleSet, FieldUnits, FieldValues
from opdsl.train.engine.rollout import Rollout
from opdsl.train.metrics.quadrature import Samplings
from opdsl.train.scaling.axis_rules import PointRule
from opdsl.train.scaling.pointwise import PointwiseMaps
from opdsl.train.scaling.scales import (
    ChannelScale,
    PointScale,
    SampleScale,
    ValueScale,
    per_channel,
)
from opdsl.train.scaling.statistics import NormaliserFit, PointRules, refuse_outside, sample_chunks

Maps = Mapping[str, Sequence[PointwiseMap]]


class Normaliser(nn.Module):
    """Pointwise maps and a scale for each input and each output, by name."""

    def __init__(
        self,
        inputs: Mapping[str, ValueScale],
        outputs: Mapping[str, ValueScale],
        maps: Mapping[str, PointwiseMaps] | None = None,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleDict({f"in_{k}": v for k, v in inputs.items()})
        self.scales.update({f"out_{k}": v for k, v in outputs.items()})
        self.outputs = tuple(outputs)
        # a prefix, because a module cannot have children of names such as `keys`
        self.maps = nn.ModuleDict({f"of_{k}": v for k, v in (maps or {}).items()})

    @classmethod
    def fit(
        cls,
        train: AnySampleSet,
        kinds: Normalise,
        loop: Rollout | None = None,
        samplings: Samplings | None = None,
        rules: PointRules | None = None,
        maps: Maps | None = None,
    ) -> "Normaliser":
        """Compute the statistics of the training samples, in one pass, float64, over all steps.

        Those of channels are integrals over the domains of all samples, weighted by quadrature
        weights where `samplings` or the samples know them; elsewhere all points count alike.

        Args:
            train: the samples.
            kinds: which statistics.
            loop: how steps in time follow each other, if there is an axis of time.
            samplings: of fields on a sphere, see `opdsl.train.metrics.quadrature`.
            rules: of the axes of the grid of each input and output, for statistics of points and of
                samples.
            maps: pointwise maps of inputs and outputs by name.

        Raises:
            OpError: OP0670, each sample has points of its own; OP0671, a value for which a map is
                not defined.
        """
        by_name = {k: PointwiseMaps(v) for k, v in (maps or {}).items() if v}
        fitted = NormaliserFit(kinds, loop, rules or {}, by_name)
        chunks = sample_chunks(train, samplings)
        fitted.add_all(islice(chunks, 1) if fitted.idle else chunks)
        return cls(*fitted.scales(), by_name)

    def units(self, loop: Rollout | None = None) -> FieldUnits:
        """Return units in which the values of each field are near one.

        An output that comes back as an input has the unit of that input.
        """
        outputs = {k.removeprefix("out_"): self._unit(k, x) for k, x in self._scales("out_")}
        inputs = {k.removeprefix("in_"): self._unit(k, x) for k, x in self._scales("in_")}
        back = {to: outputs.get(source, 1.0) for source, to in (loop.feedback if loop else ())}
        return FieldUnits(inputs | back, outputs)

    def _unit(self, key: str, scale: ValueScale) -> float:
        maps = self._maps(key.partition("_")[2])
        return scale.unit if maps is None else maps.physical_unit(*scale.typical)

    def in_units(self, units: FieldUnits) -> "Normaliser":
        """Return the normaliser for values that are divided by these units."""
        ins = {k.removeprefix("in_"): self._in_unit(k, x, units) for k, x in self._scales("in_")}
        outs = {k.removeprefix("out_"): self._in_unit(k, x, units) for k, x in self._scales("out_")}
        both = {**units.inputs, **units.outputs}
        maps = {k: x.in_unit(both.get(k, 1.0)) for k, x in self._all_maps()}
        return Normaliser(ins, outs, maps)

    def _in_unit(self, key: str, scale: ValueScale, units: FieldUnits) -> ValueScale:
        side, _, name = key.partition("_")
        unit = self._unit_behind_maps(name, units.inputs if side == "in" else units.outputs)
        if not isinstance(scale, SampleScale):
            return scale.in_unit(unit)
        return scale.in_unit(unit, self._unit_behind_maps(self._source(scale), units.inputs))

    def _unit_behind_maps(self, name: str, units: Mapping[str, float]) -> float:
        """Return the unit of the values that a scale sees; maps convert to physical values."""
        return units.get(name, 1.0) if self._maps(name) is None else 1.0

    def with_unscaled_outputs(self, names: Iterable[str]) -> "Normaliser":
        """Name the outputs of a model whose data have no truth; their values stay as they are."""
        if self.outputs:
            return self
        one = ChannelScale(torch.zeros(1), torch.ones(1))
        ins = {k.removeprefix("in_"): x for k, x in self._scales("in_")}
        return Normaliser(ins, dict.fromkeys(names, one), dict(self._all_maps()))

    def with_width(self, of: str, width: str) -> "Normaliser":
        """Keep the output `of` and add an output `width` in units of its deviation."""
        scales = {k.removeprefix("out_"): x for k, x in self._scales("out_")}
        ins = {k.removeprefix("in_"): x for k, x in self._scales("in_")}
        maps = self._maps(of)
        own = scales[of].centred()
        if maps is not None:
            std = maps.deviation(*scales[of].typical)
            own = ChannelScale(torch.zeros_like(std), std)
        kept = {k: x for k, x in self._all_maps() if k != width}
        return Normaliser(ins, {of: scales[of], width: own}, kept)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "Normaliser":
        """Rebuild a normaliser from its `state_dict` in a checkpoint.

        Raises:
            ValueError: the tensors are those of no normaliser.
        """
        start = "maps.of_"
        maps = {
            k[len(start) : -len(".code")]: PointwiseMaps.of_code(x)
            for k, x in state.items()
            if k.startswith(start) and k.endswith(".code")
        }
        return cls(_scales(state, "in_"), _scales(state, "out_"), maps)

    def encode(self, inputs: FieldValues) -> FieldValues:
        """Normalise inputs; names without statistics stay, and the module rejects unknown names."""
        return {k: self.encode_one(k, x) for k, x in inputs.items()}

    def encode_one(self, name: str, x: Values) -> Values:
        """Normalise one input; it stays as it is if there are no statistics of its name."""
        scale = self.input_scale(name)
        if scale is None:
            return x
        if not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
            self.refuse_outside({name: x})  # in training `fit` has looked at every sample
        x = self._mapped(name, x)
        if isinstance(scale, SampleScale):
            return scale.forward(x, scale.statistics(x))
        return map_values(x, scale)

    def decode(
        self, outputs: Values | FieldValues, inputs: FieldValues | None = None
    ) -> FieldValues:
        """Convert outputs of the module to physical units, by name, in float32 or better.

        Args:
            outputs: of the module.
            inputs: in physical units; statistics of samples are taken from them.
        """
        by_name = outputs if isinstance(outputs, dict) else {self.outputs[0]: outputs}
        return {k: self._back(k, x, inputs or {}) for k, x in by_name.items()}

    def encode_output(self, name: str, x: Values, inputs: FieldValues) -> Values:
        """Normalise values of an output, the inverse of `decode`.

        Args:
            name: of the output.
            x: (batch, channels, *grid), or packed.
            inputs: statistics of samples are taken from them.
        """
        x = self._mapped(name, x)
        scale = dict(self._scales("out_")).get(f"out_{name}")
        if scale is None:  # an output without data has no scale
            return x
        if isinstance(scale, SampleScale):
            source = self._source(scale)
            return scale.forward(x, scale.statistics(self._mapped(source, inputs[source])))
        return map_values(x, scale)

    def deviation(self, name: str, like: Values) -> Tensor:
        """Return the deviation of an output, which broadcasts against (batch, channels, *grid)."""
        scale, maps = dict(self._scales("out_"))[f"out_{name}"], self._maps(name)
        x = all_values(like)
        if maps is not None:
            return per_channel(maps.deviation(*scale.typical), x)
        return (
            scale.deviation(x)
            if isinstance(scale, PointScale)
            else per_channel(scale.typical[1], x)
        )

    def typical_values(self, name: str, x: Tensor) -> Tensor:
        """Return values of an input in physical units from standard normal numbers."""
        scale, maps = self.input_scale(name), self._maps(name)
        if scale is None:
            return x
        mean, std = (per_channel(y, x) for y in scale.typical)
        y = x * std + mean if isinstance(scale, SampleScale) else scale.back(x)
        return y if maps is None else maps.back(y)

    def refuse_outside(self, inputs: FieldValues, start: int = 0) -> None:
        """Refuse values for which a map is not defined.

        Args:
            inputs: in physical units.
            start: how many samples come before.

        Raises:
            OpError: OP0671.
        """
        for name, x in inputs.items():
            maps = self._maps(name)
            if maps is not None:
                refuse_outside(name, x, maps, start)

    def input_scale(self, name: str) -> ValueScale | None:
        """Return the scale of an input; None if there is none of the name."""
        return dict(self._scales("in_")).get(f"in_{name}")

    @property
    def fixed_points(self) -> tuple[str, ...]:
        """The inputs and outputs with statistics of each point."""
        return tuple(
            k.partition("_")[2]
            for prefix in ("in_", "out_")
            for k, x in self._scales(prefix)
            if isinstance(x, PointScale)
        )

    def _back(self, name: str, x: Values, inputs: FieldValues) -> Values:
        x = map_values(x, lambda v: v if v.dtype == torch.float64 else v.float())
        scale = dict(self._scales("out_")).get(f"out_{name}")
        if scale is None:  # an output without data has no scale
            return x
        if isinstance(scale, SampleScale):
            source = self._source(scale)
            x = scale.back(x, scale.statistics(self._mapped(source, inputs[source])))
        else:
            x = map_values(x, scale.back)
        maps = self._maps(name)
        return x if maps is None else map_values(x, maps.back)

    def _source(self, scale: SampleScale) -> str:
        names = sorted(k.removeprefix("in_") for k, _ in self._scales("in_"))
        return names[scale.number]

    def _mapped(self, name: str, x: Values) -> Values:
        maps = self._maps(name)
        return x if maps is None else map_values(x, maps)

    def _maps(self, name: str) -> PointwiseMaps | None:
        return dict(self._all_maps()).get(name)

    def _all_maps(self) -> Iterator[tuple[str, PointwiseMaps]]:
        for name, maps in self.maps.items():
            assert isinstance(maps, PointwiseMaps)
            yield name.removeprefix("of_"), maps

    def _scales(self, prefix: str) -> Iterator[tuple[str, ValueScale]]:
        for name, scale in self.scales.items():
            if name.startswith(prefix):
                assert isinstance(scale, ChannelScale | PointScale | SampleScale)
                yield name, scale


def _scales(state: Mapping[str, Tensor], prefix: str) -> dict[str, ValueScale]:
    start = f"scales.{prefix}"
    names = [
        k[len(start) : -len(".mean")] for k in state if k.startswith(start) and k[-5:] == ".mean"
    ]
    return {n: _scale(state, f"{start}{n}.") for n in names}


def _scale(state: Mapping[str, Tensor], start: str) -> ValueScale:
    """Rebuild one scale; those of earlier versions have a mean and a deviation alone."""
    mean, std = state[f"{start}mean"], state[f"{start}std"]
    if f"{start}rules_code" not in state:
        return ChannelScale(mean, std)
    rules = [PointRule.of_code(*row) for row in state[f"{start}rules_code"].tolist()]
    if f"{start}size" not in state:
        return PointScale(mean, std, rules)
    centre, size = state[f"{start}centre"], state[f"{start}size"]
    return SampleScale(centre, size, mean, std, rules, int(state[f"{start}source"]))
