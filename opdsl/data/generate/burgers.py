"""The generator `burgers`: viscous flow on an interval with two ends."""

from typing import Any

from opdsl.data.generate import SAMPLES, SAMPLING, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.burgers import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Burgers' equation, u_t + u u_x = nu u_xx on [0, 1], u = 0 at both ends.

    Input: initial (u at time 0), the sum of a_k sin(pi k x) / k over k = 1..T, with a_k uniform on
    (-1, 1). Output: final (u at a later time), by quadrature of the formula of Cole and Hopf,
    compared with a spectral solution. Files of one seed hold the same functions at every
    resolution.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on the axis.", "N"),
        SAMPLES,
        Option("terms", int, "Sines of the input.", "T", 16),
        Option("viscosity", float, "nu, 0.002 to 1.", "NU", 0.01),
        Option("time", float, "The time of the output, 0.01 to 2.", "SECONDS", 1.0),
        SAMPLING,
    ),
    example="--resolution 129 --samples 100 -o b.h5",
)
