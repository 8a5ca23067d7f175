"""The generator `reaction-diffusion`: fronts between walls without flux."""

from typing import Any

from opdsl.data.generate import SAMPLES, SAMPLING, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.reaction_diffusion import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Allen-Cahn, u_t = d Laplace u + r (u - u^3) on the unit square without flux.

    Input: initial (u at time 0), the sum of a_ij cos(pi i x) cos(pi j y) / (1 + i^2 + j^2) over
    i, j = 0..T-1, with a_ij uniform on (-1, 1). Output: final (u at a later time), by cosines and
    exponential time differencing, compared with operator splitting. Files of one seed hold the same
    functions at every resolution.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis.", "N"),
        SAMPLES,
        Option("terms", int, "Cosines of the input on each axis.", "T", 8),
        Option("diffusivity", float, "d, 0.001 to 1.", "D", 0.005),
        Option("rate", float, "r, 0 to 10.", "R", 5.0),
        Option("time", float, "The time of the output, 0.01 to 2.", "SECONDS", 0.5),
        SAMPLING,
    ),
    example="--resolution 65 --samples 100 -o r.h5",
)
