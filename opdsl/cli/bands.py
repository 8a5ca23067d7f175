"""A band around a prediction, as the commands see it: what stays as it is while its width learns.

What comes in: a graph, settings, and the run that trained the prediction. What goes out: what `fit`
is to keep, or what is wrong with the settings; later, how good the band is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from opdsl.cli.evaluate_tests import samplings
from opdsl.cli.run_folder import Saved
from opdsl.data.bind.samples import Samples
from opdsl.diagnostics import did_you_mean, fault
from opdsl.ir.graph import Graph, Node
from opdsl.nn.points.batch import Values
from opdsl.train.config.schema import Settings
from opdsl.train.engine.fit import FrozenPart
from opdsl.train.engine.normalise import Normaliser
from opdsl.train.engine.warm_start import WarmStart
from opdsl.train.metrics.calibrate import Calibration, Coverage, calibrate, coverage
from opdsl.train.metrics.evaluate import predict
from opdsl.train.metrics.quadrature import field_weights
from opdsl.train.run.checkpoint import State
from opdsl.train.run.trained import trained_state
from opdsl.workflow.calibration import weights_of
from opdsl.workflow.weights import trained_module


def refuse_bad_band(graph: Graph, settings: Settings) -> None:
    """OP0604 where a band is asked for that the model does not have."""
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
        message = "`band` and `rollout` cannot be asked for together"
        raise fault("OP0604", message, helps=("leave one of them out",))
    if not _own_weights(graph, band.width, band.of):
        message = f"there is nothing to learn: `{band.width}` has no weights of its own"
        notes = (f"what `{band.of}` is made of is kept as it is",)
        raise fault("OP0604", message, notes=notes, helps=("give it layers of its own",))


def frozen_part(graph: Graph, settings: Settings, start: WarmStart | None) -> FrozenPart:
    """What the prediction is made of, with the normaliser of the run that trained it.

    Raises:
        OpError: OP0604, there is no such run; OP0626, it does not hold all of the prediction.
    """
    band = settings.band
    assert band.of
    if start is None:
        message = f"`band.of = {band.of}` needs the weights of a run that has trained `{band.of}`"
        raise fault("OP0604", message, helps=("name it: `--from RUN`",))
    paths = tuple(x.path for x in _made_of(graph, band.of) if x.shares is None)
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


def frozen_part_of(graph: Graph, settings: Settings, state: State) -> FrozenPart:
    """Return what stays as it is while a band is learnt, from the checkpoint of a resumed run."""
    assert settings.band.of
    paths = tuple(x.path for x in _made_of(graph, settings.band.of) if x.shares is None)
    return FrozenPart(paths, Normaliser.from_state(state["normaliser"]))


@dataclass(frozen=True, slots=True)
class Banded:
    """A trained model whose settings say which output is a band around which."""

    graph: Graph
    module: nn.Module
    normaliser: Normaliser
    settings: Settings

    @classmethod
    def of(cls, saved: Saved, settings: Settings) -> Banded:
        """The best weights of a run, with such device and precision.

        Raises:
            OpError: OP0621, OP0626, OP0627, OP0630.
        """
        module, trained = trained_module(saved.folder, saved.graph)
        return cls(saved.graph, module, trained.normaliser, settings)

    def calibrated(self, held: Samples, alpha: float | None, delta: float) -> Calibration:
        """The factor that `held` asks for; see `opdsl.train.metrics.calibrate`.

        Raises:
            OpError: OP0613.
        """
        band = self.settings.band
        assert band.of
        share = band.alpha if alpha is None else alpha
        weights = weights_of(self.module)
        fields = self._predicted(held, band.of, band.width)
        points = self._weights(held, band.of)
        factor, rank = calibrate(*fields, alpha=share, delta=delta, weights=points)
        return Calibration(
            band.of, band.width, share, delta, factor, len(held), rank, weights=weights
        )

    def coverage(self, samples: Samples, found: Calibration) -> Coverage:
        """What the band holds on samples."""
        fields = self._predicted(samples, found.of, found.width)
        return coverage(*fields, found, self._weights(samples, found.of))

    def _weights(self, samples: Samples, of: str) -> Values | None:
        """Quadrature weights of the points of an output, if they do not count alike."""
        outputs = {of: samples.outputs[of]}
        return field_weights(outputs, samplings(self.graph), samples.weights).get(of)

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


def _made_of(graph: Graph, output: str) -> list[Node]:
    """The nodes that an output needs."""
    needed = {x.source for x in graph.outputs if x.name == output}
    for node in reversed(graph.nodes):
        if node.path in needed:
            needed.update(node.inputs)
    return [x for x in graph.nodes if x.path in needed]


def _own_weights(graph: Graph, width: str, of: str) -> bool:
    """Whether the width needs weights that the prediction does not need."""
    made = _made_of(graph, of)
    kept = {x.path for x in made} | {x.shares for x in made if x.shares}
    rest = (x for x in _made_of(graph, width) if {x.path, x.shares or x.path}.isdisjoint(kept))
    return any(_weighs(graph, x) for x in rest)


def _weighs(graph: Graph, node: Node) -> bool:
    """Whether the node has weights, under its own path."""
    return node.shares is None and node.block.cost(*graph.arguments(node)).params > 0
