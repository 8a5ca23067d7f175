"""The generator `darcy`: flow through a random porous medium."""

from typing import Any

from opdsl.data.generate import SAMPLES, WORKERS, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.darcy import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Darcy flow: -div(a grad u) = 1, u = 0 at the boundary of the unit square.

    `--dims` 1 and 3: on the unit interval and on the unit cube. Input: coefficient (a), 12 where
    psi >= 0 and 3 elsewhere (`--kind piecewise`), or exp(psi) (`lognormal`), with the Gaussian
    field psi of the law N(0, 3^(4 - d) (-Laplace + 9)^-2), no flux and no mean; d is the number of
    axes. Output: pressure (u). On the interval by exact integrals; on the square and the cube by
    differences on a fine grid, with a direct method or conjugate gradients and a fast Poisson
    solver, the error of which is O(h) where a jumps and O(h^2) elsewhere. Checks: the residual, the
    maximum principle, the order of convergence, and on the interval differences of every sample.

    Source: Li et al. 2021, arXiv:2010.08895, app. A.3.2; Raonic et al. 2023, arXiv:2302.01178.
    """,
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis.", "N"),
        SAMPLES,
        Option("dims", int, "The number of axes: 1, 2 or 3.", "D", 2),
        Option(
            "fine",
            int,
            "Points on each axis of the solver; at least 8193, 129 or 65, by the number of axes.",
            "M",
            optional=True,
        ),
        Option(
            "kind",
            str,
            "The law of the coefficient: piecewise or lognormal.",
            "KIND",
            "piecewise",
            choices=("piecewise", "lognormal"),
        ),
        Option(
            "scale",
            float,
            "L: psi has the covariance exp(-|x - y|^2 / L^2), instead of that of Li et al.",
            "L",
            optional=True,
        ),
        WORKERS,
    ),
    example="--resolution 65 --samples 100 -o d.h5",
)
