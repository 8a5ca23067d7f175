"""The generator `navier-stokes`: forced flow on a torus."""

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
    from opdsl.data.generate.problems.navier_stokes import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Navier-Stokes, w_t + u . grad w = nu Laplace w + f, the vorticity on a torus.

    `--forcing diagonal`: the unit torus, f = (sin 2 pi (x + y) + cos 2 pi (x + y)) / 10, nu = 0.001
    and time 50 unless specified. `kolmogorov`: the torus of length 2 pi, f = -n cos(n y), nu =
    1 / 500 and time 5. w at time 0 is a Gaussian field without mean, with the deviations
    2^(1/2) 7^(3/2) (|k|^2 + 49)^(-5/4), as the published programs draw it.

    Input: initial (w at time 0). Output: final (w at a later time). With `--frames F` one field
    instead, vorticity, at F + 1 times with equal distances. Method: Fourier, free of aliasing, with
    exponential time differencing of fourth order. Checks: the decay of a Taylor-Green vortex in
    closed form, half the steps for the first sample, and the spectrum of each sample. Files of one
    seed hold the same functions at every resolution. A sample takes 7.4 s of processor time (AVX2)
    with the first forcing at nu = 0.001, and 25 s with the second one.

    Source: Li et al. 2021, arXiv:2010.08895, sec. 5.3 and app. A.3.3; Li et al. 2021,
    arXiv:2111.03794 (PINO), the Kolmogorov flow; Kochkov et al. 2021, arXiv:2102.01010, the drag.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis.", "N"),
        SAMPLES,
        Option(
            "forcing",
            str,
            "The law of f: diagonal or kolmogorov.",
            "LAW",
            "diagonal",
            choices=("diagonal", "kolmogorov"),
        ),
        Option("viscosity", float, "nu.", "NU", optional=True),
        Option("time", float, "The time of the output.", "SECONDS", optional=True),
        Option("frames", int, "Equal intervals of time to record; 0 for pairs.", "F", 0),
        Option("wave", int, "n of the Kolmogorov forcing.", "N", 4),
        Option("drag", float, "A linear drag, -drag w is added to f.", "D", 0.0),
        Option("fine", int, "Points of the solver on each axis.", "M", optional=True),
        PERIODIC_SAMPLING,
        WORKERS,
    ),
    example="--resolution 64 --samples 100 --frames 50 -o n.h5",
)
