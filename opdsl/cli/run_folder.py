"""A run's folder, as the commands write and read it, beside what training itself keeps there.

    resolved.op         the program with the parameters it was given (and the files it imports)
    settings.yaml       every setting, with who gave it
    opdsl.json          versions, fingerprints, seed, where the data are, the errors at the end
    model.safetensors   the best weights, with the normaliser of the data
    report.html         all of it on one page

What is read back without data is in `opdsl.workflow.run_folder`.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.cli.datasets import Division, Held
from opdsl.cli.files import write
from opdsl.cli.programs import Program, used
from opdsl.cli.resolved import imported_files, resolved_text
from opdsl.diagnostics import fault
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.run.folder import ABOUT, WEIGHTS
from opdsl.workflow.run_folder import (
    FORMAT,
    PROGRAM,
    SETTINGS,
    no_run,
    read_run_folder,
)

if TYPE_CHECKING:
    from torch import nn

    from opdsl.train.engine.normalise import Normaliser

REPORT = "report.html"
RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class Saved:
    """A run that was begun earlier.

    Attributes:
        tests: where its test data are.
        valid: where its validation data are, if they are others.
    """

    folder: Path
    graph: Graph
    settings: Settings
    tests: tuple[Held, ...]
    valid: Held | None = None


def new_folder(model: str) -> Path:
    """`runs/DarcyFNO-20260131-141500`, numbered if it is there already."""
    stamp = datetime.now(UTC).astimezone().strftime("%Y%m%d-%H%M%S")
    names = [f"{model}-{stamp}", *(f"{model}-{stamp}-{i}" for i in range(2, 1000))]
    return next(RUNS / x for x in names if not (RUNS / x).exists())


def latest_folder(model: str | None) -> Path:
    """The newest run below `runs/`, of a model if it is given.

    Raises:
        OpError: OP0627, there is none.
    """
    found = [x.parent for x in RUNS.glob(f"{model}-*/{ABOUT}" if model else f"*/{ABOUT}")]
    if not found:
        helps = ("name its folder: `--resume RUN`",)
        what = f"run of `{model}`" if model else "run"
        raise fault("OP0627", f"there is no {what} to go on with", helps=helps, file="runs")
    return max(found, key=lambda x: (x.stat().st_mtime, x.name))


# -------------------------------------------------------------------------------------- writing


def write_beginning(
    run: Path, program: Program, told: ResolvedSettings, division: Division
) -> None:
    """Everything that is known before the first step.

    Raises:
        OpError: OP0625.
    """
    for name, text in imported_files(program).items():
        write(run / name, text.encode())
    write(run / PROGRAM, resolved_text(program).encode())
    write(run / SETTINGS, settings_text(told).encode())
    write_about(run, _about(program, told, division))  # the last one: with it the folder is a run


def _about(program: Program, told: ResolvedSettings, division: Division) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": program.graph.name,
        "program": program.source.name,
        "versions": versions(),
        "fingerprint": fingerprint(program.graph),
        "seed": told.settings.seed,
        "data": about_data(division),
    }


def about_data(division: Division) -> dict[str, Any]:
    """Where the data of a run are, and which part of them is for what."""
    train = division.train
    return {
        "path": str(Path(train.source).resolve()),
        "fingerprint": train.fingerprint,
        "samples": len(train),
        "resolution": list(train.resolution),
        "valid": None if division.held is None else _place(division.held),
        "choice": division.choice,
        "tests": [_place(x) for x in division.tests],
    }


def _place(held: Held) -> dict[str, Any]:
    """The samples of any working directory."""
    return asdict(held) | {"path": str(Path(held.path).resolve())}


def write_about(run: Path, about: Mapping[str, Any]) -> None:
    """Write `opdsl.json`.

    Raises:
        OpError: OP0625.
    """
    write(run / ABOUT, json.dumps(about, indent=1).encode())


def versions() -> dict[str, str]:
    """What computed: ours, torch's, Python's."""
    import torch

    from opdsl import __version__

    return {
        "opdsl": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def settings_text(told: ResolvedSettings) -> str:
    """The settings as YAML that `--config` reads, with the origin of each that is no default."""
    lines: list[str] = []
    section = ""
    for key, value, origin in used(told):
        head, _, name = key.rpartition(".")
        if head != section and head:
            lines.append(f"{head}:")
        section = head
        remark = "" if origin == "default" else f"  # {origin}"
        lines.append(f"{'  ' if head else ''}{name}: {_yaml(value)}{remark}")
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def write_weights(run: Path, module: nn.Module, normaliser: Normaliser) -> None:
    """The weights of the module and the numbers that scale the data, in one file.

    Raises:
        OpError: OP0625.
    """
    from opdsl.train.run.trained import weights_file

    write(run / WEIGHTS, weights_file(module, normaliser))


# -------------------------------------------------------------------------------------- reading


def open_run(folder: str) -> Saved:
    """A run, its program compiled as far as the graph.

    Raises:
        OpError: OP0627, the folder is no run; OP0628, it contains a link; what is wrong with its
            program.
    """
    run = read_run_folder(folder)
    tests, valid = tests_of(run.folder, run.about), valid_of(run.folder, run.about)
    return Saved(run.folder, run.graph, run.settings, tests, valid)


def tests_of(run: Path, about: Mapping[str, Any]) -> tuple[Held, ...]:
    """Where the test data of a run are.

    Raises:
        OpError: OP0627.
    """
    try:
        return tuple(Held(**x) for x in about["data"]["tests"])
    except (LookupError, TypeError) as error:
        raise no_run(run, f"`{ABOUT}` names no data") from error


def valid_of(run: Path, about: Mapping[str, Any]) -> Held | None:
    """Where the validation data are; None if there are none, and for runs of earlier versions.

    Raises:
        OpError: OP0627.
    """
    try:
        found = about["data"].get("valid")
        return Held(**found) if found else None
    except (LookupError, TypeError, AttributeError) as error:
        raise no_run(run, f"`{ABOUT}` names no data") from error
