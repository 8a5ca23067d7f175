"""The generator `reaction-diffusion`: two phases that separate between walls without flux."""

from typing import Any

from opdsl.data.generate import SAMPLES, SAMPLING, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.reaction_diffusion import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Allen-Cahn: u_t = D Laplace u + u - u^3 on the unit square, no flux at its walls.

    Input: initial (u at time 0), the sum of a_ij cos(pi i x) cos(pi j y) / (1 + i^2 + j^2) over
    i, j = 0..T - 1, with a_ij uniform on (-1, 1). Output: final (u at a later time), in cosines by
    exponential time differencing; operator splitting of the first sample must agree, and all
    samples obey the maximum principle. Files of one seed hold the same functions at every
    resolution.

    Source: Allen and Cahn 1979, doi:10.1016/0001-6160(79)90196-2; Cox and Matthews 2002,
    doi:10.1006/jcph.2002.6995; Strang 1968, doi:10.1137/0705041.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis.", "N"),
        SAMPLES,
        Option("terms", int, "Cosines of the initial condition on each axis.", "T", 8),
        Option("diffusivity", float, "D.", "D", 0.001),
        Option("time", float, "The time of the output.", "SECONDS", 2.5),
        SAMPLING,
    ),
    example="--resolution 65 --samples 100 -o r.h5",
)
