"""Generated data sets, each checked by its generator before the file exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opdsl.data.generate import darcy as darcy_
    from opdsl.data.generate import poisson_shapes as poisson_shapes_
    from opdsl.data.generate import shallow_water as shallow_water_
    from opdsl.data.generate import surface as surface_


def darcy(**options: Any) -> darcy_.Report:
    """Generate Darcy flows; see `opdsl.data.generate.darcy.generate` for the options."""
    from opdsl.data.generate.darcy import generate

    return generate(**options)


def shallow_water(**options: Any) -> shallow_water_.Report:
    """Generate shallow water on the sphere; see `opdsl.data.generate.shallow_water.generate`."""
    from opdsl.data.generate.shallow_water import generate

    return generate(**options)


def poisson_shapes(**options: Any) -> poisson_shapes_.Report:
    """Generate Poisson problems in shapes; see `opdsl.data.generate.poisson_shapes.generate`."""
    from opdsl.data.generate.poisson_shapes import generate

    return generate(**options)


def surface(**options: Any) -> surface_.Report:
    """Generate diffusion on surfaces; see `opdsl.data.generate.surface.generate`."""
    from opdsl.data.generate.surface import generate

    return generate(**options)
