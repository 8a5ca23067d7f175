"""`opdsl.from_pretrained`: open a published model, which may come from a stranger."""

from __future__ import annotations

import os
from pathlib import Path

from opdsl.compiler import check, read
from opdsl.summary.memory_check import refuse_too_large, weight_bytes
from opdsl.train.engine.device import device_of
from opdsl.train.engine.precision import policy_of
from opdsl.train.run.folder import METRICS, WEIGHTS, refuse_links
from opdsl.train.run.trained import load_published
from opdsl.workflow.folder.reading import PROGRAM, SETTINGS, read_about, read_run_folder
from opdsl.workflow.programs.patches import module_of
from opdsl.workflow.programs.program import Program
from opdsl.workflow.programs.resolved_text import imported_files
from opdsl.workflow.publishing.manifest import listed_files, refuse_changed, refuse_unlisted
from opdsl.workflow.runs.calibration import CALIBRATION
from opdsl.workflow.runs.opening import run_of, with_precision
from opdsl.workflow.runs.run import Run

READ = (METRICS, CALIBRATION)  # files that are read if they exist


def from_pretrained(
    folder: str | os.PathLike[str], *, device: str = "cpu", precision: str | None = None
) -> Run:
    """Open a model that `Run.save_pretrained` has published.

    No code of the folder runs: programs are checked and lowered, and weights are safetensors. Every
    file that is read has a hash, which is compared first. The hashes show that a copy is complete,
    and not who made it.

    Args:
        folder: of the published model.
        device: where the operator is put: `cpu`, `cuda`, `auto` ...
        precision: as in the settings of a run; as it was trained if not given.

    Returns:
        The run, which predicts, evaluates on data that are passed to it, and reports.

    Raises:
        OpError: OP0760, the folder is not a published model; OP0761, a file is missing or differs
            from its hash; OP0628, it contains a link; OP0630, the weights do not fit into memory;
            what is wrong with its program.

    >>> import opdsl
    >>> folder = opdsl.open_run(RUN).save_pretrained(FOLDER / "grid-model")
    >>> opdsl.from_pretrained(folder).graph.name
    'Grid'
    """
    path = Path(folder)
    refuse_links(path)
    files = listed_files(path, read_about(path))
    refuse_changed(path, files)
    content = read_run_folder(path)
    source, place = read(path / PROGRAM)
    checked = check(source, model=content.graph.name, folder=place)
    names = {PROGRAM, SETTINGS, WEIGHTS, *(x for x in READ if (path / x).exists())}
    names |= imported_files(Program(source, path, checked, {})).keys()
    refuse_unlisted(path, names, files)
    settings = with_precision(content.settings, device, precision)
    policy = policy_of(settings.precision, device_of(device))
    refuse_too_large(content.graph.name, {"weights": weight_bytes(content.graph)})
    module = module_of(content.graph, settings)
    info = load_published(path, module)
    return run_of(content, settings, policy, module, info)
