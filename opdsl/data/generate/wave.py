"""The generator `wave`: standing waves between walls, from rest."""

from typing import Any

from opdsl.data.generate import SAMPLES, SAMPLING, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.wave import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Wave equation, u_tt = Laplace u / 100 on the unit square, u = 0 on its boundary.

    Input: initial (u at time 0), pi / T^2 times the sum of
    a_ij (i^2 + j^2)^(-R) sin(pi i x) sin(pi j y) over i, j = 1..T, with a_ij uniform on (-1, 1),
    at rest. Output: final (u at a later time), in closed form. Files of one seed hold the same
    functions at every resolution. `--distribution out` has more sines (T = 32, R = 0.85) than
    `in` (T = 24, R = 1), for tests out of distribution.

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
            "The law: in (T = 24, R = 1) or out (T = 32, R = 0.85).",
            "LAW",
            "in",
            choices=("in", "out"),
        ),
        Option("terms", int, "Sines on each axis instead of those of the law.", "T", optional=True),
        Option("exponent", float, "R, instead of that of the law.", "R", optional=True),
        Option("time", float, "The time of the output.", "SECONDS", 5.0),
        SAMPLING,
    ),
    example="--resolution 65 --samples 100 -o w.h5",
)
