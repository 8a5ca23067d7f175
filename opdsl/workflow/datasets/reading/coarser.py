"""Fields on every k-th point of their grids."""

from __future__ import annotations

from dataclasses import replace

from opdsl.data.bind.coordinates import thin_coordinates
from opdsl.data.bind.samples import VECTOR, Fields
from opdsl.data.derive.coarsen import Resolution, every_kth, refuse_on_points
from opdsl.nn.points.batch import Values, all_values


def coarser(fields: Fields, resolution: Resolution) -> Fields:
    """Return fields on every k-th point; vectors stay as they are.

    Raises:
        OpError: OP0614, no step leads to this resolution.
    """
    refuse_on_points(resolution if fields.places else None, fields.source)
    kept = every_kth(fields.resolution, resolution, fields.layout, source=fields.source)
    strides = (slice(None), slice(None), *kept)

    def thin(x: Values) -> Values:
        dense = all_values(x)
        return dense if dense.ndim == VECTOR else dense[strides].contiguous()

    size = (resolution,) * len(kept) if isinstance(resolution, int) else tuple(resolution)
    return replace(
        fields,
        values={n: thin(x) for n, x in fields.values.items()},
        masks={n: thin(x) for n, x in fields.masks.items()},
        resolution=size,
        coordinates=thin_coordinates(fields.coordinates, fields.axes, kept),
    )
