"""The generator `rpb`: the Representative PDE Benchmarks, a folder of files."""

from typing import Any

from opdsl.data.generate import WORKERS, GeneratedFile, Generator, Option

NAMES = (
    "poisson",
    "wave",
    "smooth-transport",
    "discontinuous-transport",
    "allen-cahn",
    "navier-stokes",
    "darcy",
)


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.rpb import generate

    return generate(**options)


GENERATOR = Generator(
    description="""The seven sets on the square of the Representative PDE Benchmarks, as a folder.

    The folder has NAME/train.h5, valid.h5 and test.h5 in distribution, and NAME/out.h5 out of
    distribution, with the published numbers of samples unless `--samples` is specified. `--problem`
    writes one of the sets instead of all. A file that the folder has already, of equal settings, is
    not computed again: an interrupted command continues where it was. The sets are those of
    `poisson`, `wave`, `transport`, `allen-cahn`, `shear-layer` (navier-stokes) and `darcy
    --scale`; their help has equations, sources and checks. `docs/generators.md` compares them
    with what is published. All of them take about 3 hours of processor time (AVX2), most of it for
    `navier-stokes`.

    Source: Raonic et al. 2023, arXiv:2302.01178; the flow around airfoils is left out.
    """,
    suffix="folder",
    generate=_generate,
    options=(
        Option("resolution", int, "Points on each axis; 64 are published.", "N", 64),
        Option("samples", int, "Samples of each file.", "K", optional=True),
        Option(
            "problem",
            str,
            "One of the sets, or all.",
            "NAME",
            "all",
            choices=("all", *NAMES),
        ),
        Option(
            "distribution",
            str,
            "The files in distribution, the one out of distribution, or both.",
            "LAW",
            "both",
            choices=("both", "in", "out"),
        ),
        WORKERS,
    ),
    example="--problem wave -o rpb",
)
