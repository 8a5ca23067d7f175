"""The generator `fitzhugh-nagumo`: patterns of an activator and an inhibitor."""

from typing import Any

from opdsl.data.generate import SAMPLES, WORKERS, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.fitzhugh_nagumo import generate

    return generate(**options)


GENERATOR = Generator(
    description="""FitzHugh-Nagumo on the square (-1, 1)^2, no flux at its walls; of PDEBench.

    The diffusion-reaction of PDEBench in two dimensions: u_t = D_u Laplace u + u - u^3 - k - v,
    v_t = D_v Laplace v + u - v. Fields: activator (u) and inhibitor (v) at F + 1 times with equal
    distances, as means of cells. At time 0 each cell of the solver has independent normal values.
    Method: finite volumes of second order, and the adaptive method of Dormand and Prince with the
    tolerance 1e-6, where 1e-3 is published. Exponential time differencing of the first sample must
    agree. Files of one seed and one `--fine` hold the same functions at every resolution.

    Source: Takamoto et al. 2022, arXiv:2210.07182; FitzHugh 1961,
    doi:10.1016/S0006-3495(61)86902-6.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Cells on each axis; 128 are published.", "N", 128),
        SAMPLES,
        Option("du", float, "D_u.", "D", 0.001),
        Option("dv", float, "D_v.", "D", 0.005),
        Option("k", float, "The constant of the reaction.", "K", 0.005),
        Option("time", float, "The time of the last state.", "SECONDS", 5.0),
        Option("frames", int, "Equal intervals of time to record.", "F", 100),
        Option("fine", int, "Cells of the solver on each axis.", "M", optional=True),
        WORKERS,
    ),
    example="--samples 100 -o f.h5",
)
