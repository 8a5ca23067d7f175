"""The generator `shear-layer`: the roll-up of two thin shear layers on a torus."""

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
    from opdsl.data.generate.problems.shear_layer import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Navier-Stokes on the unit torus from two thin shear layers; horizontal velocity.

    With s(x) = 0.025 sum_k a_k sin(2 pi k x - b_k) over k = 1..P, a_k uniform on (0, 1) and b_k on
    (0, 2 pi), the horizontal velocity at time 0 is tanh(2 pi (y + s - 1/4) / RHO) where
    y + s <= 1/2 and tanh(2 pi (3/4 - y - s) / RHO) elsewhere, and the vertical one is 0; its
    divergence-free part is the state at time 0. The viscosity 0.0004 acts on the frequencies
    |k| >= 12 alone. Input: initial (horizontal velocity at time 0). Output: final (at a later
    time). `in` has RHO = 0.1 and P = 10, `--distribution out` RHO = 0.09 and P = 12.

    Method: Fourier, free of aliasing, with exponential time differencing of fourth order. Checks:
    half the steps for the first sample, the energy and the spectrum of all. Files of one seed hold
    the same functions at every resolution. A sample takes 8.0 s of processor time (AVX2).

    Source: Raonic et al. 2023, arXiv:2302.01178; Bell, Colella and Glaz 1989,
    doi:10.1016/0021-9991(89)90151-4, the shear layer.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis.", "N"),
        SAMPLES,
        DISTRIBUTION,
        Option("time", float, "The time of the output.", "SECONDS", 1.0),
        Option("fine", int, "Points of the solver on each axis.", "M", 192),
        PERIODIC_SAMPLING,
        WORKERS,
    ),
    example="--resolution 64 --samples 100 -o s.h5",
)
