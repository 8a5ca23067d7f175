"""The generator `poisson`: random sums of sines and the solutions of the Poisson equation."""

from typing import Any

from opdsl.data.generate import SAMPLES, SAMPLING, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.poisson import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Poisson: -Laplace u = f on the unit square, u = 0 on its boundary.

    Input: forcing (f), pi / T^2 times the sum of a_ij (i^2 + j^2)^R sin(pi i x) sin(pi j y) over
    i, j = 1..T, with a_ij uniform on (-1, 1). Output: solution (u), in closed form. Files of one
    seed hold the same functions at every resolution. `--distribution out` has more sines (T = 20)
    than `in` (T = 16, R = -0.5), for tests out of distribution.

    Source: Raonic et al. 2023, arXiv:2302.01178.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis.", "N"),
        SAMPLES,
        Option(
            "distribution",
            str,
            "The law: in (T = 16) or out (T = 20).",
            "LAW",
            "in",
            choices=("in", "out"),
        ),
        Option("terms", int, "Sines on each axis instead of those of the law.", "T", optional=True),
        Option("exponent", float, "R, instead of that of the law.", "R", optional=True),
        SAMPLING,
    ),
    example="--resolution 65 --samples 100 -o p.h5",
)
