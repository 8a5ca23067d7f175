"""Generators of data sets: one module for each, which defines `GENERATOR`.

`opdsl data generate NAME` runs one. Other packages add generators through the entry-point group
`opdsl.generators`, name to `Generator`. Our modules here are declarations and import nothing heavy;
the numerics are in `problems`, `solvers` and `sampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import cleandoc
from pathlib import Path
from typing import Any

from opdsl.registry import Registry
from opdsl.sampling import PERIODIC, SAMPLINGS


@dataclass(frozen=True, slots=True)
class GeneratedFile:
    """A generated data set that has passed the checks of its generator.

    Attributes:
        path: the file.
        samples: the number of samples.
        size: sizes of a sample by name, as plain data: `{"resolution": 65, "fine": 129}`.
        seconds: wall time.
        checks: measured errors by name, as plain data.
        extent: the size in words, behind the number of samples: `at 65x65, solved at 129x129`.
        checked: the checks in words.
    """

    path: Path
    samples: int
    size: Mapping[str, Any]
    seconds: float
    checks: Mapping[str, float]
    extent: str
    checked: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data, for `--json`."""
        head = {"path": str(self.path), "samples": self.samples, **self.size}
        return head | {"seconds": round(self.seconds, 3), **self.checks}

    def __str__(self) -> str:
        """Describe the file in two lines: what was written in what time, and what was checked."""
        head = f"{self.path}: {self.samples} samples {self.extent} in {self.seconds:.1f} s"
        return f"{head}\nchecked: {', '.join(self.checked)}"


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a generator besides `seed` and `out`.

    Attributes:
        name: of the argument of `generate`, and of the option of the command.
        type: int, float or str; with `choices`, one of these.
        help: a sentence.
        metavar: name of the value in the help.
        default: the default value; None means required, unless the option is `optional`.
        optional: whether None is a valid value.
        choices: the words that are allowed; any value if empty.
    """

    name: str
    type: type
    help: str
    metavar: str
    default: Any = None
    optional: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generator:
    """A problem whose data sets can be computed.

    Attributes:
        description: the equation, the fields and how it is solved; its first line is the summary.
        suffix: ending of the file that it writes, or `folder`.
        generate: `generate(*, seed, out, progress, **options)` writes a file whole or not at all.
            Raises OpError: OP0604 an option does not fit, OP0617 a check failed, OP0625 the file
            cannot be written.
        options: the options besides `seed` and `out`.
        example: options of a command, for the help: `--resolution 65 --samples 100 -o d.h5`.
    """

    description: str
    suffix: str
    generate: Callable[..., GeneratedFile]
    options: tuple[Option, ...]
    example: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", cleandoc(self.description))


SAMPLES = Option("samples", int, "The number of samples.", "K")
SAMPLING = Option(
    "sampling",
    str,
    f"Which ends of an axis carry a point, or cell centres: {', '.join(SAMPLINGS)}.",
    "WORD",
    "both",
    choices=SAMPLINGS,
)
PERIODIC_SAMPLING = Option(
    "sampling",
    str,
    f"Which end of an axis carries a point, or cell centres: {', '.join(PERIODIC)}.",
    "WORD",
    "lower",
    choices=PERIODIC,
)
CENTRED_SAMPLING = replace(PERIODIC_SAMPLING, default="centres")
DISTRIBUTION = Option(
    "distribution",
    str,
    "The law of the samples: in, or out for tests out of distribution.",
    "LAW",
    "in",
    choices=("in", "out"),
)
WORKERS = Option("workers", int, "Processes that compute samples in parallel.", "N", 2)

GENERATORS: Registry[Generator] = Registry(__name__, "GENERATOR", "opdsl.generators")
