"""The domain and the convolution of an SFNO; the rest of it is as in an FNO.

Source: neuralop/layers/spherical_convolution.py at 93d3f06: degrees l < n_modes[0] and orders
m < n_modes[1] // 2 on equiangular grids, a complex matrix for each degree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opdsl.migrate.neuralop.writing import call

if TYPE_CHECKING:
    from opdsl.migrate.neuralop.layer import Layer


def band(n_modes: tuple[int, ...]) -> tuple[int, int]:
    """Return the greatest degree and the greatest order."""
    lmax = n_modes[0] - 1
    return lmax, min(n_modes[1] // 2 - 1, lmax)


def convolution(source: str, layer: Layer) -> str:
    """Write the call of `spherical_conv`."""
    lmax, orders = band(layer.modes)
    w = layer.weights
    factored = w.factor != "dense"
    return call(
        "spherical_conv",
        source,
        lmax=lmax,
        orders=orders if orders != lmax else None,
        out=layer.out if layer.out != layer.inward else None,
        numbers="complex",
        factor=w.factor if factored else None,
        rank=w.rank if factored else None,
    )


def declaration(layers: Sequence[Layer]) -> str:
    """Declare the sphere, with the points that the degrees and orders of the layers need."""
    bands = [band(x.modes) for x in layers]
    rows = max(2 * lmax + 1 for lmax, _ in bands)
    columns = max(2 * orders + 1 for _, orders in bands)
    return f"domain D = sphere(lat, lon, sampling = equiangular, min = ({rows}, {columns}))"
