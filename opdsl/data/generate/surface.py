"""The generator `surface`: diffusion on random closed surfaces."""

from typing import Any

from opdsl.data.generate import SAMPLES, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.surface import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Diffusion, u - Laplace u / 10 = f, on random closed surfaces in space.

    Each sample has a surface within the unit sphere and triangles of its own (domain S). Input:
    forcing (f). Output: solution (u). By surface finite elements; files of one seed hold the same
    problems at every resolution.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Edges along a unit of length: the mesh width is 1/N.", "N"),
        SAMPLES,
    ),
    example="--resolution 12 --samples 100 -o s.h5",
)
