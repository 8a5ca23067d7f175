"""The setting `data.resample`: samples on another grid, by the series of the axes of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from opdsl.bases import interpolant
from opdsl.data.bind.samples import Samples
from opdsl.data.derive.coarsen import Resolution, layout_on
from opdsl.data.derive.resample import Part, SeriesAxis, SphereAxes, resample
from opdsl.diagnostics import OpError, fault
from opdsl.ir.expansion import ends_of
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import Domain
from opdsl.nn.points.batch import Values, all_values


@dataclass(frozen=True, slots=True)
class Resampling:
    """How samples come to another grid.

    Attributes:
        graph: the model, whose domains say where points are and which conditions hold at ends.
        size: points on each axis of the new grid; one number stands for all axes.
    """

    graph: Graph
    size: Resolution

    def __call__(self, samples: Samples) -> Samples:
        """Return the samples on the new grid; vectors stay as they are.

        Raises:
            OpError: OP0673, a function is on points, an axis has its seam twice, or its points do
                not determine a series; OP0614, there are not as many numbers as axes.
        """
        ports = {x.name: x for x in (*self.graph.inputs, *self.graph.outputs)}
        if any(x.space.domain.scattered for x in ports.values()) or samples.places:
            raise _refused("functions on points have no series", samples.source)
        functions = {k: v for k, v in ports.items() if v.space.domain.dims}
        sizes = {k: self._size(x.space.domain, samples.source) for k, x in functions.items()}
        parts = {k: _parts(x, samples) for k, x in functions.items()}

        def moved(side: dict[str, Values]) -> dict[str, Values]:
            return {
                k: resample(all_values(x), parts[k], sizes[k]) if k in parts else x
                for k, x in side.items()
            }

        weights = {k: x for k, x in samples.weights.items() if k not in parts}
        if len(weights) < len(samples.weights):
            raise _refused("values are masked, and a series needs all of them", samples.source)
        size = next(iter(sizes.values()), samples.resolution)
        inputs, outputs = moved(samples.inputs), moved(samples.outputs)
        result = replace(samples, inputs=inputs, outputs=outputs, resolution=size)
        return replace(result, name=result.extent) if samples.name == samples.extent else result

    def _size(self, domain: Domain, source: str) -> tuple[int, ...]:
        size = (self.size,) * domain.dims if isinstance(self.size, int) else tuple(self.size)
        if len(size) == domain.dims:
            return size
        message = f"`data.resample` has {len(size)} numbers, `{domain}` has {domain.dims} axes"
        raise fault("OP0614", message, helps=("write one number, or one for each",), file=source)


def _parts(port: Port, samples: Samples) -> list[Part]:
    """Return the series of each axis of a domain.

    Raises:
        OpError: OP0673.
    """
    parts: list[Part] = []
    first = 0
    for part in port.space.domain.parts:
        if part.kind == "sphere" and part.sampling is not None:
            parts.append(SphereAxes(part.sampling))
        elif part.regular:
            parts += [_series(part, i, samples, first + i) for i in range(part.dims)]
        else:
            raise _refused(f"`{part}` is no grid of these", samples.source)
        first += part.dims
    return parts


def _series(domain: Domain, i: int, samples: Samples, place: int) -> SeriesAxis:
    axis, sampling = domain.axes[i], domain.samplings[i]
    if domain.periodic[i] and layout_on(samples.layout, place) == "node":
        text = f"the file has the seam of `{axis.name}` twice, at both ends"
        raise _refused(text, samples.source)
    chosen = interpolant("auto", ends_of(domain)[i], sampling)
    if chosen is None:
        text = f"the points of `{axis.name}` (`sampling = {sampling}`) determine no series, since "
        text += "nothing is known at its ends"
        raise _refused(text, samples.source)
    return SeriesAxis(*chosen, sampling)


def _refused(reason: str, source: str) -> OpError:
    helps = (
        "take every k-th point instead: `data { resolution = ... }`",
        "or leave `data.resample` out",
    )
    return fault("OP0673", f"the data cannot be resampled: {reason}", helps=helps, file=source)
