"""Declared symmetries against the training data: numbers of points, and a statistical test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opdsl.diagnostics import Diagnostic, Help, fault
from opdsl.ir.graph import Graph
from opdsl.nn.points.batch import all_values
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.metrics.symmetry_test import Asymmetry, asymmetry
from opdsl.workflow.datasets.reading.streamed import AnySamples, few_of, head_of

QUANTITIES = {"mean": "", "mean square": "the square of ", "product": "the product of "}


def refuse_bad_sizes(symmetries: Sequence[Symmetry], samples: AnySamples) -> None:
    """Refuse data on which a symmetry cannot act.

    Raises:
        OpError: OP0655, two exchanged axes have different numbers of points, or components are
            exchanged of which one is not in the data or has another shape.
    """
    head = head_of(samples)
    fields = head.inputs | head.outputs
    shapes = {k: tuple(all_values(x).shape) for k, x in fields.items()}
    for symmetry in symmetries:
        for name, grid in symmetry.maps.items():
            shape = shapes.get(name)
            if shape is None or grid.exchanged is None:
                continue
            a, b = (shape[i - grid.dims] for i in grid.exchanged)
            if a != b:
                message = f"`{symmetry.text}` exchanges axes of {a} and {b} points"
                raise fault("OP0655", message, notes=(f"of `{name}`",), file=samples.source)
        for name, sources in symmetry.channels.items():
            other = {x.name for x in sources} - {name}
            for missing in sorted(x for x in other if name in shapes and x not in shapes):
                message = f"`{symmetry.text}` needs `{missing}`, which the data do not have"
                raise fault("OP0655", message, file=samples.source)
            for x in sorted(other & shapes.keys()):
                if name in shapes and len(shapes[x]) != len(shapes[name]):
                    message = f"`{symmetry.text}` exchanges a function with steps in time and one "
                    message += f"without: `{name}` and `{x}`"
                    raise fault("OP0655", message, file=samples.source)


def symmetry_warnings(
    graph: Graph, symmetries: Sequence[Symmetry], samples: AnySamples
) -> Iterator[Diagnostic]:
    """Yield the warning OP0654 for each symmetry that the samples do not have."""
    if not symmetries:
        return
    some = few_of(samples)
    for symmetry in symmetries:
        deviation = asymmetry(symmetry, some.inputs, some.outputs)
        if deviation is not None:
            yield _warning(graph, symmetry, deviation, samples.source)


def _warning(graph: Graph, symmetry: Symmetry, found: Asymmetry, source: str) -> Diagnostic:
    names = [_channel_name(graph, *x) for x in found.names]
    what = f"an average of {QUANTITIES[found.quantity]}{' and '.join(names)}"
    message = f"the training data do not have the symmetry `{symmetry.text}`: {what} changes by "
    message += f"{_percent(found.effect)} of its size, {found.errors:.1f} standard errors"
    chance = f"in data with this symmetry that happens with probability {found.probability:.2g}"
    notes = [f"{chance} at most ({found.samples} samples, permutation test)"]
    helps = [f"leave out `{symmetry.text}`, unless the problem has this symmetry"]
    inputs = {x.name for x in graph.inputs}
    if all(name in inputs for name, _ in found.names):
        notes.append("this concerns the distribution of the inputs, not what the operator does")
        helps.append("it is sound if the operator has the symmetry for all inputs")
    if any(x.space.components for x in (*graph.inputs, *graph.outputs)):
        helps.append("look whether `odd`, `pairs` or `vectors` names all components of vectors")
    return Diagnostic(
        "OP0654",
        message,
        notes=tuple(notes),
        helps=tuple(map(Help, helps)),
        severity="warning",
        file=source,
    )


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %"


def _channel_name(graph: Graph, name: str, channel: int) -> str:
    """Name a channel: `u`, the component `v[vx]`, or `v[0]`."""
    space = next(x.space for x in (*graph.inputs, *graph.outputs) if x.name == name)
    if space.components:
        return f"`{name}[{space.components[channel]}]`"
    return f"`{name}`" if space.channels == 1 else f"`{name}[{channel}]`"
