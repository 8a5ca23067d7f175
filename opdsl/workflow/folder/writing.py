"""The folder of a run as it is written, besides the log and the checkpoints of training.

resolved.op         the program with its parameters (and the files that it imports)
settings.yaml       every setting, with its origin
opdsl.json          versions, fingerprints, seed, where the data are, the errors at the end
model.safetensors   the best weights, with the normaliser of the data
report.html         all of it on one page
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.diagnostics import fault
from opdsl.ir.fingerprint import fingerprint
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.run.folder import ABOUT, WEIGHTS
from opdsl.version import VERSION
from opdsl.workflow.datasets.division import Division
from opdsl.workflow.datasets.held_out import HeldOut
from opdsl.workflow.datasets.reading.sources import absolute
from opdsl.workflow.folder.reading import FORMAT, PROGRAM, SETTINGS
from opdsl.workflow.output import write_file
from opdsl.workflow.programs.program import Program, used_settings
from opdsl.workflow.programs.resolved_text import imported_files, resolved_text

if TYPE_CHECKING:
    from torch import nn

    from opdsl.train.scaling.normalise import Normaliser

REPORT = "report.html"
RUNS = Path("runs")


def new_folder(model: str) -> Path:
    """Return `runs/DarcyFNO-20260131-141500`, numbered if that exists already."""
    stamp = datetime.now(UTC).astimezone().strftime("%Y%m%d-%H%M%S")
    names = [f"{model}-{stamp}", *(f"{model}-{stamp}-{i}" for i in range(2, 1000))]
    return next(RUNS / x for x in names if not (RUNS / x).exists())


def latest_folder(model: str | None) -> Path:
    """Return the newest run below `runs/`, of a model if one is named.

    Raises:
        OpError: OP0627, there is none.
    """
    runs = [x.parent for x in RUNS.glob(f"{model}-*/{ABOUT}" if model else f"*/{ABOUT}")]
    if not runs:
        helps = ("name its folder: `--resume RUN`",)
        kind = f"run of `{model}`" if model else "run"
        raise fault("OP0627", f"there is no {kind} to go on with", helps=helps, file="runs")
    return max(runs, key=lambda x: (x.stat().st_mtime, x.name))


def write_beginning(
    run: Path, program: Program, resolved: ResolvedSettings, division: Division
) -> None:
    """Write everything that is known before the first step.

    Raises:
        OpError: OP0625, a file cannot be written.
    """
    for name, text in imported_files(program).items():
        write_file(run / name, text.encode())
    write_file(run / PROGRAM, resolved_text(program).encode())
    write_file(run / SETTINGS, settings_text(resolved).encode())
    write_about(run, _about(program, resolved, division))  # written last: it makes the folder a run


def _about(program: Program, resolved: ResolvedSettings, division: Division) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": program.graph.name,
        "program": program.source.name,
        "versions": versions(),
        "machine": machine(resolved.settings.device),
        "fingerprint": fingerprint(program.graph),
        "seed": resolved.settings.seed,
        "data": about_data(division),
    }


def about_data(division: Division) -> dict[str, Any]:
    """Describe where the data of a run are, and how they are divided."""
    train = division.train
    return {
        "path": absolute(train.source),
        "fingerprint": train.fingerprint,
        "samples": len(train),
        "resolution": list(train.resolution),
        "valid": None if division.held_out is None else _place(division.held_out),
        "choice": division.choice,
        "tests": [_place(x) for x in division.tests],
    }


def _place(held_out: HeldOut) -> dict[str, Any]:
    """Describe held-out samples as seen from any working directory."""
    return asdict(held_out) | {"path": absolute(held_out.path)}


def write_about(run: Path, about: Mapping[str, Any]) -> None:
    """Write `opdsl.json`.

    Raises:
        OpError: OP0625, a file cannot be written.
    """
    write_file(run / ABOUT, json.dumps(about, indent=1).encode())


def versions() -> dict[str, str]:
    """Return the versions of opdsl, torch and Python."""
    import torch

    return {
        "opdsl": VERSION,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def machine(device: str) -> dict[str, str]:
    """Describe the machine as far as it bears on results and times; nothing that identifies it.

    Args:
        device: as in the settings.
    """
    import torch

    from opdsl.train.engine.device import device_of

    chosen = device_of(device)
    name = f"{chosen}: {torch.cuda.get_device_name(chosen)}" if chosen.type == "cuda" else chosen
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "device": str(name),
        "threads": str(torch.get_num_threads()),
    }


def settings_text(resolved: ResolvedSettings) -> str:
    """Return the settings as YAML that `--config` reads, with the origin of each one."""
    lines: list[str] = []
    section = ""
    for key, value, origin in used_settings(resolved):
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
    """Write the weights of the module and the normaliser of the data in one file.

    Raises:
        OpError: OP0625, a file cannot be written.
    """
    from opdsl.train.run.trained import weights_file

    write_file(run / WEIGHTS, weights_file(module, normaliser))
