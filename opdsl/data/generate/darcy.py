"""The generator `darcy`: flow through a random porous medium."""

from typing import Any

from opdsl.data.generate import SAMPLES, WORKERS, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.darcy import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Darcy flow: -div(a grad u) = 1 on the unit square, u = 0 on its boundary.""",
    suffix=".h5",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis.", "N"),
        SAMPLES,
        Option("fine", int, "Points on each axis of the solver; 129 or more.", "M", optional=True),
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
