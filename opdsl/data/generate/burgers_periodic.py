"""The generator `burgers-periodic`: viscous flow on a circle."""

from typing import Any

from opdsl.data.generate import (
    PERIODIC_SAMPLING,
    SAMPLES,
    WORKERS,
    GeneratedFile,
    Generator,
    Option,
)


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.burgers_periodic import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Viscous Burgers, u_t + u u_x = nu u_xx on the unit interval, periodic.

    Input: initial (u at time 0), a Gaussian field without mean of the law
    N(0, 625 (-Laplace + 25)^-2). Output: final (u at a later time), in 1 / nu sines and cosines by
    exponential time differencing of fourth order; for the first sample, quadrature of the
    transformation of Cole and Hopf must agree. Files of one seed hold the same functions at every
    resolution. Published viscosities are 0.1 and 0.01. A sample takes 0.03 s of
    processor time (AVX2), and 0.04 s with the second one.

    Source: Li et al. 2021, arXiv:2010.08895, sec. 5.1 and app. A.3.1; they solve with 8192 points.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on the axis; 8192 are published.", "N"),
        SAMPLES,
        Option("viscosity", float, "nu.", "NU", 0.1),
        Option("time", float, "The time of the output.", "SECONDS", 1.0),
        PERIODIC_SAMPLING,
        WORKERS,
    ),
    example="--resolution 1024 --samples 100 --viscosity 0.01 -o b.h5",
)
