"""The generator `allen-cahn`: two phases that separate on a torus."""

from typing import Any

from opdsl.data.generate import (
    DISTRIBUTION,
    PERIODIC_SAMPLING,
    SAMPLES,
    WORKERS,
    GeneratedFile,
    Generator,
    Option,
)


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.allen_cahn import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Allen-Cahn, u_t = Laplace u + 220^2 (u - u^3) on the unit square, periodic.

    Input: initial (u at time 0), pi / T^2 times the sum of
    a_ij (i^2 + j^2)^(-R) sin(pi i x) sin(pi j y) over i, j = 1..T, with a_ij uniform on (-1, 1),
    continued periodically. Output: final (u at a later time), with 160 frequencies on each axis by
    exponential time differencing of fourth order; operator splitting of the first sample must
    agree, and all samples obey the maximum principle. `--distribution out` has T = 16 and R = 0.85,
    `in` T = 24 and R = 1. Files of one seed hold the same functions at every resolution. A sample
    takes 3.1 s of processor time (AVX2). `reaction-diffusion` is this equation between walls.

    Source: Raonic et al. 2023, arXiv:2302.01178.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis.", "N"),
        SAMPLES,
        DISTRIBUTION,
        Option("terms", int, "Sines on each axis instead of those of the law.", "T", optional=True),
        Option("exponent", float, "R, instead of that of the law.", "R", optional=True),
        Option("rate", float, "The square root of the rate of reaction.", "EPS", 220.0),
        Option("time", float, "The time of the output.", "SECONDS", 0.0002),
        PERIODIC_SAMPLING,
        WORKERS,
    ),
    example="--resolution 64 --samples 100 -o a.h5",
)
