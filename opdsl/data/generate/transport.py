"""The generator `transport`: shapes that a constant velocity carries over a torus."""

from typing import Any

from opdsl.data.generate import (
    DISTRIBUTION,
    PERIODIC_SAMPLING,
    SAMPLES,
    GeneratedFile,
    Generator,
    Option,
)


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.transport import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Transport, u_t + v . grad u = 0 on the unit square, periodic, v = (0.2, -0.2).

    Input: initial (u at time 0). `--shape smooth`: exp(-|x - c|^2 / (2 s)) with s uniform on
    (0.003, 0.009); `disc`: 1 where |x - c| < r, 0 elsewhere, with r uniform on (0.1, 0.2). The
    centre c is uniform on (0.2, 0.4)^2, and on (0.4, 0.6)^2 with `--distribution out`. Output:
    final (u at a later time), in closed form. Files of one seed hold the same functions at every
    resolution. A sample takes less than a millisecond.

    Source: Raonic et al. 2023, arXiv:2302.01178, the transport problems of its benchmarks.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis.", "N"),
        SAMPLES,
        Option(
            "shape",
            str,
            "The initial function: smooth or disc.",
            "SHAPE",
            "smooth",
            choices=("smooth", "disc"),
        ),
        DISTRIBUTION,
        Option("time", float, "The time of the output.", "SECONDS", 1.0),
        PERIODIC_SAMPLING,
    ),
    example="--resolution 64 --samples 100 --shape disc -o t.h5",
)
