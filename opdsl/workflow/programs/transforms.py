"""The settings `transforms` and `normalise` against the model and its symmetries. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from opdsl.diagnostics import did_you_mean, fault
from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Port
from opdsl.train.config.schema import Settings, statistics_source
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.config.transforms import PointwiseMap


def refuse_bad_transforms(
    graph: Graph, settings: Settings, symmetries: Sequence[Symmetry] = ()
) -> None:
    """Refuse settings of `transforms` and `normalise` that do not suit the model.

    Raises:
        OpError: OP0604, a name or a map that the model cannot have; OP0670, statistics of points
            that samples do not share; OP0672, a symmetry that they break.
    """
    _refuse_bad_maps(graph, settings)
    _refuse_bad_statistics(graph, settings)
    _refuse_broken(settings, symmetries)


def _refuse_bad_maps(graph: Graph, settings: Settings) -> None:
    inputs, outputs = ({x.name for x in side} for side in (graph.inputs, graph.outputs))
    for name, maps in settings.maps.items():
        if name not in inputs | outputs:
            message = f"`transforms` names `{name}`, which is no input or output of `{graph.name}`"
            raise fault("OP0604", message, helps=did_you_mean(name, inputs | outputs))
        lossy = [x for x in maps if not x.word.inverse]
        if name in outputs and lossy:
            message = f"`{lossy[0]}` has no inverse, and predictions undo the maps of an output"
            raise fault("OP0604", message, helps=(f"leave it out of the maps of `{name}`",))
    for loop in graph.feedback:
        back, given = (settings.maps.get(x, ()) for x in (loop.output, loop.input))
        if _bounded(given) and [x for x in given if x.word.inverse] != list(back):
            message = f"`{loop.output}` comes back as `{loop.input}`, for which `{given[-1]}` may "
            message += "not be defined"
            helps = (f"give `{loop.output}` the maps of `{loop.input}`",)
            raise fault("OP0604", message, helps=helps)


def _bounded(maps: Sequence[PointwiseMap]) -> bool:
    return any(x.word.above is not None for x in maps)


def _refuse_bad_statistics(graph: Graph, settings: Settings) -> None:
    kinds = settings.normalise
    for kind, side in ((kinds.inputs, graph.inputs), (kinds.outputs, graph.outputs)):
        own = next((x for x in side if _own_points(x)), None)
        if kind == "point" and own is not None:
            message = f"statistics of each point of `{own.name}`, whose points each sample has "
            message += "of its own"
            helps = ("take `channel` or `sample` instead of `point`",)
            raise fault("OP0670", message, helps=helps)
    source = statistics_source(kinds.outputs)
    if source is None:
        return
    inputs = {x.name: x for x in graph.inputs}
    key = f"`normalise.outputs = {kinds.outputs}`"
    if source not in inputs:
        message = f"{key}: `{source}` is no input of `{graph.name}`"
        raise fault("OP0604", message, helps=did_you_mean(source, inputs))
    if not inputs[source].space.domain.dims:
        message = f"{key}: `{source}` is a vector, which has no mean and deviation over points"
        raise fault("OP0604", message, helps=("name an input that is a function",))
    _refuse_other_channels(graph, inputs[source], key)


def _refuse_other_channels(graph: Graph, source: Port, key: str) -> None:
    """Refuse a source whose channels are not those of every output, nor a single one."""
    have = decided(source.space.channels)
    back = {x.output for x in graph.feedback if x.input == source.name}
    for output in graph.outputs:
        channels = decided(output.space.channels)
        if have in (1, channels) or (output.name in back and have % channels == 0):
            continue
        message = f"{key}: `{source.name}` has {have} channels, `{output.name}` has {channels}"
        helps = ("name an input with as many channels, or with one",)
        raise fault("OP0604", message, helps=helps)


def _own_points(port: Port) -> bool:
    parts = port.space.domain.parts
    return any(x.scattered and x.geometry == "per_sample" for x in parts)


def _refuse_broken(settings: Settings, symmetries: Sequence[Symmetry]) -> None:
    if not symmetries:
        return
    for side in ("inputs", "outputs"):
        if getattr(settings.normalise, side) == "point":
            message = f"`normalise.{side} = point` and `symmetries`: statistics of points move "
            message += f"under `{symmetries[0].text}`"
            helps = (f"take `normalise.{side} = channel`", "or leave `symmetries` out")
            raise fault("OP0672", message, helps=helps)
    for symmetry in symmetries:
        for name, channels in symmetry.channels.items():
            flipped = {x.name for x in channels if x.sign < 0} | {
                name for x in channels if x.sign < 0
            }
            for one in sorted(flipped):
                bad = [x for x in settings.maps.get(one, ()) if x.word.above is not None]
                if bad:
                    message = f"`{symmetry.text}` changes the sign of `{one}`, whose `{bad[0]}` "
                    message += "takes one sign only"
                    helps = ("take `asinh`, which is odd", f"or leave out `{symmetry.text}`")
                    raise fault("OP0672", message, helps=helps)
