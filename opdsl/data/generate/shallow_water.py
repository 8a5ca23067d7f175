"""The generator `shallow-water`: states of an ocean on the rotating sphere."""

from typing import Any

from opdsl.data.generate import SAMPLES, GeneratedFile, Generator, Option


def _generate(**options: Any) -> GeneratedFile:
    from opdsl.data.generate.problems.shallow_water import generate

    return generate(**options)


GENERATOR = Generator(
    description="""Shallow water on the rotating sphere: a random state, and that some hours later.
    """,
    suffix=".npz",
    generate=_generate,
    options=(
        Option("resolution", int, "Latitudes; twice as many longitudes.", "N"),
        SAMPLES,
        Option("hours", float, "Hours between both states.", "H", 1.0),
    ),
    example="--resolution 32 --samples 100 -o s.npz",
)
