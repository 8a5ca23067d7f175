"""The generator `advection`: waves that move around a circle."""

from typing import Any

from opdsl.data.generate import CENTRED_SAMPLING, SAMPLES, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.advection import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Advection, u_t + BETA u_x = 0 on the unit interval, periodic; of PDEBench.

    Field: u at F + 1 times with equal distances, the initial condition moved by BETA t, in closed
    form. With `--frames 0` input: initial (u at time 0), output: final. The initial condition is
    the sum over k = 1..K of a_k sin(2 pi n_k k x + b_k), with a_k uniform on (0, 1) and b_k on
    (0, 2 pi); n_k says how often k is drawn in two draws, so that most terms are constants. It has
    a random sign; one in ten functions is the absolute value of its sum, and one in ten vanishes
    outside a window. Turned Fourier coefficients of the first sample must agree. Files of one seed
    hold the same functions at every resolution. Published: 1024 centres of cells, time 2, 200
    frames, and the velocities 0.1, 0.2, 0.4, 1, 2 and 4.

    Source: Takamoto et al. 2022, arXiv:2210.07182, whose published program this law is; there waves
    end one cell before the circle closes, and the window depends on the draw that makes it.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on the axis; 1024 are published.", "N"),
        SAMPLES,
        Option("velocity", float, "The velocity.", "BETA", 0.1),
        Option("modes", int, "Frequencies of which two are drawn.", "K", 4),
        Option("time", float, "The time of the last state.", "SECONDS", 2.0),
        Option("frames", int, "Equal intervals of time to record; 0 for pairs.", "F", 200),
        CENTRED_SAMPLING,
    ),
    example="--resolution 1024 --samples 100 --velocity 0.4 -o a.h5",
)
