"""The folder of a run, as far as it can be read without weights and without torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opdsl.compiler import FILES, check
from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.files import read_json
from opdsl.ir.graph import Graph
from opdsl.setting import Setting
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import DEFAULT, resolve
from opdsl.train.run.folder import ABOUT, refuse_links
from opdsl.workflow.programs.config import read_config
from opdsl.workflow.programs.overrides import assignments

PROGRAM, SETTINGS = "resolved.op", "settings.yaml"
FORMAT = 1
COORDINATES = ("data", "coordinates")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The program and the settings of a run.

    Attributes:
        folder: of the run.
        graph: of its program.
        settings: with which it is trained.
        about: versions, fingerprints, where the data are.
    """

    folder: Path
    graph: Graph
    settings: Settings
    about: Mapping[str, Any]


def read_run_folder(folder: str | os.PathLike[str]) -> RunFolder:
    """Read the program and the settings of a run.

    Raises:
        OpError: OP0627, the folder is no run; OP0628, it contains a link; what is wrong with its
            program.
    """
    run = Path(folder)
    refuse_links(run)
    about = read_about(run)
    graph = check(run / PROGRAM, model=model_of(run, about)).sound()
    settings = resolve(own_settings(run, about)).settings
    return RunFolder(run, graph, settings, about)


def own_settings(run: Path, about: Mapping[str, Any]) -> list[Setting]:
    """Read the settings of a run, each with its origin.

    Raises:
        OpError: OP0605.
    """
    overrides = read_config(str(run / SETTINGS))
    settings = assignments([replace(x, origin=_remark(x)) for x in overrides], ())
    if not any(x.path == COORDINATES for x in settings):
        # earlier versions took the values as they are: the weights fit these
        settings = [*settings, Setting(COORDINATES, "warn", "an earlier version of opdsl")]
    if "valid" in about.get("data", {}):
        return settings
    # in runs of earlier versions the test data chose the weights
    return [*settings, Setting(("data", "valid"), "test", "an earlier version of opdsl")]


def _remark(override: Setting) -> str:
    """Return the origin that `writing.settings_text` writes behind a value."""
    assert override.span is not None  # every value that was read from a file has a span
    line_end = override.span.source.text[override.span.end :].partition("\n")[0]
    return line_end.partition("  # ")[2] or DEFAULT


def read_about(run: Path) -> dict[str, Any]:
    """Read `opdsl.json`.

    Raises:
        OpError: OP0627.
    """
    try:
        about = read_json(run / ABOUT)
    except (OSError, ValueError) as error:
        raise no_run(run, f"it has no readable `{ABOUT}`") from error
    if isinstance(about, dict) and "sha256" in about:
        raise no_run(run, "it is a compiled model with fresh weights")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise no_run(run, f"`{ABOUT}` is of another format")
    if not (_names_data(about.get("data", {"path": "", "samples": 0})) and _ends(about)):
        raise no_run(run, f"`{ABOUT}` has values of other types than a run writes")
    return about


def _names_data(data: object) -> bool:
    """Return whether `data` has the form that runs write: the file may come from a stranger."""
    if not isinstance(data, dict) or not isinstance(data.get("tests", []), list):
        return False
    held_out = [*data.get("tests", []), *filter(None, [data.get("valid")])]
    has_training_data = isinstance(data.get("path"), str) and isinstance(data.get("samples"), int)
    return has_training_data and all(
        isinstance(x, dict) and isinstance(x.get("path"), str) for x in held_out
    )


def _ends(about: Mapping[str, Any]) -> bool:
    """Return whether the final errors of a run, if there are any, are lists of rows."""
    end = about.get("finished")
    if not isinstance(end, dict):
        return end is None
    rows = [end.get("tests"), end.get("valid")]
    return "best_epoch" in end and all(isinstance(x, list) for x in rows)


def model_of(run: Path, about: Mapping[str, Any]) -> str:
    """Return the name of the model.

    Raises:
        OpError: OP0627.
    """
    if not isinstance(about.get("model"), str):
        raise no_run(run, f"`{ABOUT}` names no model")
    return str(about["model"])


def no_run(run: Path, what: str) -> OpError:
    """Make the OP0627 for a path that is no run; the message says what the path is."""
    text = str(run)
    helps: tuple[str, ...] = ("`opdsl train SPEC --out FOLDER` makes one",)
    if "\n" in text or text.endswith(FILES) or _is(run, Path.is_file):
        message = "this is a program or another file, and not the folder of a run"
        helps = ("`opdsl.compile` makes a module with fresh weights of a program", *helps)
    elif _is(run, Path.is_dir):
        message = f"this folder is not a run: {what}"
    else:
        message = "there is no such folder"
        near = [str(x.parent) for x in run.parent.glob(f"*/{ABOUT}")]
        helps = did_you_mean(text, near) or helps
    return fault("OP0627", message, helps=helps, file=text.partition("\n")[0])


def _is(run: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(run)
    except (OSError, ValueError):  # the name is too long, or no name at all
        return False
