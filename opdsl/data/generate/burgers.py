"""The generator `burgers`: viscous flow between two walls."""

from typing import Any

from opdsl.data.generate import SAMPLES, SAMPLING, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.burgers import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Viscous Burgers, u_t + u u_x = nu u_xx on the unit interval, u = 0 at both ends.

    Input: initial (u at time 0), the sum of a_k sin(pi k x) / k over k = 1..T, with a_k uniform on
    (-1, 1). Output: final (u at a later time), by quadrature of the transformation of Cole and
    Hopf; a pseudospectral solution of the first sample must agree. Files of one seed hold the same
    functions at every resolution.

    Source: Hopf 1950, doi:10.1002/cpa.3160030302; Cole 1951, doi:10.1090/qam/42889.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on the axis.", "N"),
        SAMPLES,
        Option("terms", int, "Sines of the initial condition.", "T", 16),
        Option("viscosity", float, "nu.", "NU", 0.01),
        Option("time", float, "The time of the output.", "SECONDS", 1.0),
        SAMPLING,
    ),
    example="--resolution 129 --samples 100 -o b.h5",
)
