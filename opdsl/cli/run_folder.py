"""A run's folder, as the commands write and read it, beside what training itself keeps there.

    resolved.op         the program with the parameters it was given (and the files it imports)
    settings.yaml       every setting, with who gave it
    opdsl.json          versions, fingerprints, seed, where the data are, the errors at the end
    model.safetensors   the best weights
    report.html         all of it on one page

What comes in: a program, settings, samples. What goes out: the files; and back, a `Saved` run.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.cli.config import read_config
from opdsl.cli.datasets import Division, Held
from opdsl.cli.files import write
from opdsl.cli.overrides import Override, assignments
from opdsl.cli.programs import Program, used
from opdsl.cli.resolved import imported_files, resolved_text
from opdsl.compiler import check
from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.train.sections import Settings
from opdsl.train.settings import DEFAULT, Assignment, Resolved, resolve

if TYPE_CHECKING:
    from torch import nn

    from opdsl.train.normalise import Normaliser

PROGRAM, SETTINGS, ABOUT = "resolved.op", "settings.yaml", "opdsl.json"
WEIGHTS, REPORT = "model.safetensors", "report.html"
RUNS = Path("runs")
FORMAT = 1


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


def write_beginning(run: Path, program: Program, told: Resolved, division: Division) -> None:
    """Everything that is known before the first step.

    Raises:
        OpError: OP0625.
    """
    for name, text in imported_files(program).items():
        write(run / name, text.encode())
    write(run / PROGRAM, resolved_text(program).encode())
    write(run / SETTINGS, settings_text(told).encode())
    write_about(run, _about(program, told, division))  # the last one: with it the folder is a run


def _about(program: Program, told: Resolved, division: Division) -> dict[str, Any]:
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


def settings_text(told: Resolved) -> str:
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
    """The weights for others, and beside them in opdsl.json the numbers that scale the data.

    Raises:
        OpError: OP0625.
    """
    from safetensors.torch import save

    weights = {k: x.detach().cpu().contiguous() for k, x in module.state_dict().items()}
    write(run / WEIGHTS, save(weights))
    scales = {k: x.tolist() for k, x in normaliser.state_dict().items()}
    write_about(run, read_about(run) | {"normaliser": scales})


# -------------------------------------------------------------------------------------- reading


def open_run(folder: str) -> Saved:
    """A run, its program compiled as far as the graph.

    Raises:
        OpError: OP0627, the folder is no run; what is wrong with its program.
    """
    run = Path(folder)
    about = read_about(run)
    graph = check(run / PROGRAM, model=model_of(run, about)).sound()
    settings = resolve(own_settings(run, about)).settings
    return Saved(run, graph, settings, tuple(tests_of(run, about)), valid_of(run, about))


def own_settings(run: Path, about: Mapping[str, Any]) -> list[Assignment]:
    """The settings of a run, each with who gave it.

    Raises:
        OpError: OP0605.
    """
    overrides = read_config(str(run / SETTINGS))
    found = [replace(x, origin=_remark(x)) for x in overrides]
    given = assignments(found, ())
    if "valid" in about.get("data", {}):
        return given
    # a run of an earlier version: its test data chose the weights
    return [*given, Assignment(("data", "valid"), "test", "an earlier version of opdsl")]


def _remark(override: Override) -> str:
    """The origin that `settings_text` writes behind a value."""
    end = override.span.end
    rest = override.span.source.text[end:].partition("\n")[0]
    return rest.partition("  # ")[2] or DEFAULT


def read_about(run: Path) -> dict[str, Any]:
    """The content of `opdsl.json`.

    Raises:
        OpError: OP0627, the folder is no run.
    """
    try:
        about = json.loads((run / ABOUT).read_bytes())
    except (OSError, ValueError) as error:
        raise _no_run(run, f"it has no readable `{ABOUT}`") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise _no_run(run, f"`{ABOUT}` is of another format")
    return about


def model_of(run: Path, about: Mapping[str, Any]) -> str:
    """The name of the model.

    Raises:
        OpError: OP0627.
    """
    if not isinstance(about.get("model"), str):
        raise _no_run(run, f"`{ABOUT}` names no model")
    return str(about["model"])


def tests_of(run: Path, about: Mapping[str, Any]) -> list[Held]:
    """Where the test data are.

    Raises:
        OpError: OP0627.
    """
    try:
        return [Held(**x) for x in about["data"]["tests"]]
    except (LookupError, TypeError) as error:
        raise _no_run(run, f"`{ABOUT}` names no data") from error


def valid_of(run: Path, about: Mapping[str, Any]) -> Held | None:
    """Where the validation data are; None if there are none, and for runs of earlier versions.

    Raises:
        OpError: OP0627.
    """
    try:
        found = about["data"].get("valid")
        return Held(**found) if found else None
    except (LookupError, TypeError, AttributeError) as error:
        raise _no_run(run, f"`{ABOUT}` names no data") from error


def _no_run(run: Path, what: str) -> OpError:
    message = f"this folder is not a run: {what}" if run.is_dir() else "there is no such folder"
    near = [str(x.parent) for x in run.parent.glob(f"*/{ABOUT}")] if run.parent.is_dir() else []
    helps = did_you_mean(str(run), near) or ("`opdsl train SPEC --out FOLDER` makes one",)
    return fault("OP0627", message, helps=helps, file=str(run))
