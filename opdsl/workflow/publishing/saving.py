"""`Run.save_pretrained`: a trained model as a folder for others.

resolved.op         the program with its parameters (and the files that it imports)
settings.yaml       the settings of its training
model.safetensors   the weights, with the normaliser of the data
metrics.jsonl       the errors of each epoch
calibration.json    the band around predictions, if it has one
diagram.svg         the graph
README.md           the model card
opdsl.json          versions, data, errors, and the hash of every other file
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.compiler import check, read
from opdsl.diagnostics import OpError, Source
from opdsl.files import LARGEST_TEXT, read_regular
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.train.config.settings import DEFAULT, ResolvedSettings, resolve
from opdsl.train.run.folder import METRICS, WEIGHTS, refuse_used
from opdsl.train.run.trained import weights_file
from opdsl.workflow.folder.reading import PROGRAM, SETTINGS, own_settings
from opdsl.workflow.folder.writing import settings_text, write_about
from opdsl.workflow.output import write_file
from opdsl.workflow.programs.program import Program
from opdsl.workflow.programs.resolved_text import imported_files
from opdsl.workflow.publishing.anonymous_paths import anonymous, anonymous_program
from opdsl.workflow.publishing.card import DIAGRAM, card
from opdsl.workflow.publishing.manifest import FILES, FileHash
from opdsl.workflow.runs.calibration import CALIBRATION

if TYPE_CHECKING:
    from opdsl.workflow.runs.run import Run

CARD = "README.md"


def save_pretrained(run: Run, folder: str | os.PathLike[str]) -> Path:
    """Write a run as a published model; see `Run.save_pretrained`."""
    target = Path(folder)
    refuse_used(target, "name a new or empty folder")
    source, _ = read(run.folder / PROGRAM)
    text = anonymous_program(source.text, check(source, model=run.graph.name, folder=run.folder))
    # its name is in the places of nodes, and would be a path on this machine
    published = Source(PROGRAM, text)
    checked = check(published, model=run.graph.name, folder=run.folder)
    program, graph = Program(published, run.folder, checked, {}), checked.sound()
    resolved = _settings(run)
    files = {name: x.encode() for name, x in imported_files(program).items()}
    files |= {
        PROGRAM: text.encode(),
        SETTINGS: settings_text(resolved).encode(),
        WEIGHTS: weights_file(run.operator.module, run.operator.normaliser),
    }
    files |= _copied(run)
    if diagram := _diagram(graph):
        files[DIAGRAM] = diagram.encode()
    hashes = {name: FileHash.of(x) for name, x in files.items()}
    about = _about(run)
    weights = sum(x.numel() for x in run.module.parameters())
    files[CARD] = card(graph, resolved, about, weights, text, hashes).encode()
    hashes[CARD] = FileHash.of(files[CARD])
    for name, data in files.items():
        write_file(target / name, data)
    # written last: it makes the folder a published model
    write_about(target, about | {FILES: {k: x.to_json() for k, x in hashes.items()}})
    return target


def _settings(run: Run) -> ResolvedSettings:
    """Return the settings of the run without their origins, which are files of the publisher."""
    resolved = resolve(own_settings(run.folder, run.about))
    content = resolved.settings.model_dump()
    settings = type(resolved.settings).model_validate(
        content | {"data": anonymous(content["data"])}
    )
    return ResolvedSettings(settings, dict.fromkeys(resolved.origins, DEFAULT))


def _copied(run: Run) -> dict[str, bytes]:
    """Return the metrics, and the calibration if the run has a valid one."""
    files = {}
    if (run.folder / METRICS).is_file():
        files[METRICS] = read_regular(run.folder / METRICS, LARGEST_TEXT)
    if run.calibration is not None:
        content = json.loads(read_regular(run.folder / CALIBRATION, LARGEST_TEXT))
        files[CALIBRATION] = json.dumps(anonymous(content), indent=1).encode()
    return files


def _diagram(graph: Graph) -> str:
    """Draw the model; a model without a drawing is better than none."""
    from opdsl.render import render

    try:
        return str(render(graph, "svg"))
    except OpError:
        return ""


def _about(run: Run) -> dict[str, Any]:
    about: dict[str, Any] = {k: x for k, x in run.about.items() if k != FILES}
    about["fingerprint"] = fingerprint(run.graph)
    plain: dict[str, Any] = anonymous(about)
    return plain
