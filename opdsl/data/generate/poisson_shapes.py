"""The generator `poisson-shapes`: a nonlinear equation in random shapes of the plane."""

from typing import Any

from opdsl.data.generate import SAMPLES, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.poisson_shapes import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Nonlinear Poisson, div((1 + u^2/10) grad u) = f, in random shapes of the plane.

    Each sample has a shape within the unit circle and triangles of its own (domain P). Inputs:
    forcing (f), boundary (values at the boundary, continued inside). Output: solution (u). By
    finite elements and Newton's method; files of one seed hold the same problems at every
    resolution.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Edges along a unit of length: the mesh width is 1/N.", "N"),
        SAMPLES,
    ),
    example="--resolution 16 --samples 100 -o p.h5",
)
