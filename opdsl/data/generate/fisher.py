"""The generator `fisher`: a population that grows and spreads on a circle."""

from typing import Any

from opdsl.data.generate import (
    CENTRED_SAMPLING,
    SAMPLES,
    WORKERS,
    GeneratedFile,
    Generator,
    Option,
)


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.fisher import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Fisher, u_t = NU u_xx + RHO u (1 - u) on a circle of length 1; of PDEBench.

    The diffusion-reaction of PDEBench in one dimension. Field: u at F + 1 times with equal
    distances. With `--frames 0` input: initial (u at time 0), output: final. The initial condition
    is that of `advection`, scaled to the range 0 to 1. Method: Fourier, free of aliasing, with
    exponential time differencing of fourth order. Checks: operator splitting of the first sample,
    and the maximum principle of all. Files of one seed hold the same functions at every resolution.
    Published: 1024 centres of cells, time 1, 100 frames, NU = 0.5, 1, 2 and 5, RHO = 1, 2, 5, 10.

    Source: Takamoto et al. 2022, arXiv:2210.07182; Fisher 1937,
    doi:10.1111/j.1469-1809.1937.tb02153.x.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on the axis; 1024 are published.", "N"),
        SAMPLES,
        Option("diffusivity", float, "The diffusivity.", "NU", 0.5),
        Option("rate", float, "The rate of growth.", "RHO", 1.0),
        Option("time", float, "The time of the last state.", "SECONDS", 1.0),
        Option("frames", int, "Equal intervals of time to record; 0 for pairs.", "F", 100),
        CENTRED_SAMPLING,
        WORKERS,
    ),
    example="--resolution 1024 --samples 100 -o f.h5",
)
