"""A band around a prediction: its settings, its frozen prediction, and its calibration.

While the width of the band learns, the prediction stays as another run has trained it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from opdsl.data.bind.samples import Samples
from opdsl.diagnostics import did_you_mean, fault
from opdsl.ir.graph import Graph, Node
from opdsl.nn.points.batch import Values
from opdsl.train.config.schema import Settings
from opdsl.train.engine.fit import FrozenPart
from opdsl.train.engine.warm_start import WarmStart
from opdsl.train.metrics.calibrate import Calibration, Coverage, calibrate, coverage
from opdsl.train.metrics.evaluate import predict
from opdsl.train.metrics.quadrature import field_weights
from opdsl.train.run.checkpoint import State
from opdsl.train.run.trained import trained_state
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.datasets.reading.streamed import AnySamples, loaded
from opdsl.workflow.runs.calibration import weights_of
from opdsl.workflow.runs.evaluation import latitude_samplings


def refuse_bad_band(graph: Graph, settings: Settings) -> None:
    """Refuse a band that the model does not have.

    Raises:
        OpError: OP0604, what is wrong with the settings of the band.
    """
    band = settings.band
    if band.of is None:
        return
    ports = {x.name: x for x in graph.outputs}
    for key, name in (("of", band.of), ("width", band.width)):
        if name not in ports:
            message = f"`band.{key} = {name}`, but `{graph.name}` has no output `{name}`"
            helps = did_you_mean(name, ports) or (f"its outputs are {', '.join(ports)}",)
            raise fault("OP0604", message, helps=helps)
    spaces = [ports[x].space for x in (band.of, band.width)]
    if (spaces[0].domain, spaces[0].channels) != (spaces[1].domain, spaces[1].channels):
        message = f"`{band.width}` cannot be the width of a band around `{band.of}`: it is "
        message += f"`{spaces[1]}`, and that is `{spaces[0]}`"
        raise fault("OP0604", message, helps=("give both one domain and as many channels",))
    if settings.rollout:
        message = "`band` and `rollout` exclude each other"
        raise fault("OP0604", message, helps=("leave one of them out",))
    if not _has_own_weights(graph, band.width, band.of):
        message = f"there is nothing to learn: `{band.width}` has no weights of its own"
        notes = (f"the weights of `{band.of}` are frozen",)
        raise fault("OP0604", message, notes=notes, helps=("give it layers of its own",))


def frozen_prediction(graph: Graph, settings: Settings, start: WarmStart | None) -> FrozenPart:
    """Return the prediction that stays as it is, with the normaliser of the run that trained it.

    Raises:
        OpError: OP0604, there is no such run; OP0626, it does not hold all of the prediction.
    """
    band = settings.band
    assert band.of
    if start is None:
        message = f"`band.of = {band.of}` needs the weights of a run that has trained `{band.of}`"
        raise fault("OP0604", message, helps=("name it: `--from RUN`",))
    paths = tuple(x.path for x in _ancestors(graph, band.of) if x.shares is None)
    new = [x for x in start.new if any(x.startswith(f"{p}.") for p in paths)]
    if new:
        message = f"the run has not trained all of `{band.of}`"
        notes = (f"`{new[0]}` is not in it",)
        helps = (f"name the parts of `{band.of}` as in the program of the run",)
        raise fault("OP0626", message, notes=notes, helps=helps, file=start.run)
    scales = Normaliser.from_state(trained_state(Path(start.run))["normaliser"])
    if band.of not in scales.outputs:
        message = f"the run has learnt {', '.join(f'`{x}`' for x in scales.outputs)}"
        raise fault("OP0626", f"{message}, not `{band.of}`", file=start.run)
    return FrozenPart(paths, scales.with_width(band.of, band.width))


def frozen_prediction_of(graph: Graph, settings: Settings, state: State) -> FrozenPart:
    """Return the prediction that stays as it is, from the checkpoint of a resumed run."""
    assert settings.band.of
    paths = tuple(x.path for x in _ancestors(graph, settings.band.of) if x.shares is None)
    return FrozenPart(paths, Normaliser.from_state(state["normaliser"]))


@dataclass(frozen=True, slots=True)
class BandedModel:
    """A trained model, one of whose outputs is the width of a band around another."""

    graph: Graph
    module: nn.Module
    normaliser: Normaliser
    settings: Settings

    def calibrate(self, samples: AnySamples, alpha: float | None, delta: float) -> Calibration:
        """Find the factor of the width on samples; see `opdsl.train.metrics.calibrate`.

        Raises:
            OpError: OP0613, the samples are too few.
        """
        band = self.settings.band
        assert band.of
        share = band.alpha if alpha is None else alpha
        weights, samples = weights_of(self.module), loaded(samples)
        fields = self._predicted(samples, band.of, band.width)
        points = self._weights(samples, band.of)
        factor, rank = calibrate(*fields, alpha=share, delta=delta, weights=points)
        return Calibration(
            band.of, band.width, share, delta, factor, len(samples), rank, weights=weights
        )

    def coverage(self, samples: AnySamples, calibration: Calibration) -> Coverage:
        """Measure how much of the truth of samples lies within the calibrated band."""
        samples = loaded(samples)
        fields = self._predicted(samples, calibration.of, calibration.width)
        weights = self._weights(samples, calibration.of)
        return coverage(*fields, calibration, weights)

    def _weights(self, samples: Samples, of: str) -> Values | None:
        """Return quadrature weights of the points of an output, if they are not equal."""
        outputs = {of: samples.outputs[of]}
        return field_weights(outputs, latitude_samplings(self.graph), samples.weights).get(of)

    def _predicted(self, samples: Samples, of: str, width: str) -> tuple[Values, Values, Values]:
        outputs = predict(
            self.module,
            self.normaliser,
            samples.inputs,
            device=self.settings.device,
            precision=self.settings.precision,
            batch=self.settings.batch,
            places=samples.model_points,
        )
        return outputs[of], outputs[width], samples.outputs[of]


def _ancestors(graph: Graph, output: str) -> list[Node]:
    """Return the nodes that an output depends on."""
    sources = {x.source for x in graph.outputs if x.name == output}
    for node in reversed(graph.nodes):
        if node.path in sources:
            sources.update(node.inputs)
    return [x for x in graph.nodes if x.path in sources]


def _has_own_weights(graph: Graph, width: str, of: str) -> bool:
    """Return whether the width has weights that the prediction does not have."""
    nodes = _ancestors(graph, of)
    frozen = {x.path for x in nodes} | {x.shares for x in nodes if x.shares}
    own_nodes = (
        x for x in _ancestors(graph, width) if {x.path, x.shares or x.path}.isdisjoint(frozen)
    )
    return any(_has_weights(graph, x) for x in own_nodes)


def _has_weights(graph: Graph, node: Node) -> bool:
    """Return whether the node has weights under its own path."""
    return node.shares is None and node.block.cost(*graph.arguments(node)).params > 0
