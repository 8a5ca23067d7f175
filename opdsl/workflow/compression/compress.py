"""Compress a run: decompose its spectral weights, train for a few epochs, compare the errors."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.diagnostics import did_you_mean, fault
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.ranks import GREATEST, Rank
from opdsl.lower.module import OperatorModule, lower
from opdsl.setting import Setting
from opdsl.train.config.settings import ResolvedSettings, resolve
from opdsl.train.run.folder import refuse_used
from opdsl.workflow.compression.program import (
    CompressedLayer,
    Plan,
    compressed_program,
    fill,
    plan,
)
from opdsl.workflow.datasets.reading.in_memory import TrainingData, as_sources
from opdsl.workflow.errors import Warn, ignore
from opdsl.workflow.folder.reading import PROGRAM, SETTINGS, own_settings, read_about
from opdsl.workflow.folder.writing import settings_text, write_about, write_weights
from opdsl.workflow.output import write_file
from opdsl.workflow.programs.overrides import settings_in_python
from opdsl.workflow.programs.patches import refuse_patches
from opdsl.workflow.programs.program import Program
from opdsl.workflow.programs.resolved_text import resolved_text
from opdsl.workflow.training.execution import begin_run
from opdsl.workflow.training.progress import Progress, as_listener
from opdsl.workflow.training.resuming import resumable_run

if TYPE_CHECKING:
    from opdsl.workflow.runs.run import Run

RECORD = "compression.json"  # in the folder of a compressed run
PART = 10  # the fine-tuning has this part of the epochs of the run, if nobody says how many
ORIGIN = "compression"  # of the settings that fine-tuning changes


@dataclass(frozen=True, slots=True)
class CompressionStage:
    """The model at a stage of its compression.

    Attributes:
        name: `trained`, `decomposed` or `fine-tuned`.
        folder: of the run.
        weights: how many real numbers it has.
        errors: a row for each set, as of `Report.rows`.
    """

    name: str
    folder: Path
    weights: int
    errors: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Compression:
    """A compressed run, and what the compression cost; `Run.compress` returns one.

    Attributes:
        folder: of the compressed run.
        factor: `tucker`, `cp` or `tt`.
        epochs: of the fine-tuning.
        stages: errors of the trained, the decomposed and the fine-tuned model.
        layers: the decomposed layers with the errors of their weights.
        dense: layers with spectral weights that stay dense, with the reason.
    """

    folder: Path
    factor: str
    epochs: int
    stages: tuple[CompressionStage, ...]
    layers: tuple[CompressedLayer, ...]
    dense: Mapping[str, str]

    @property
    def run(self) -> Run:
        """The compressed run, opened on the CPU."""
        from opdsl.workflow.runs.opening import open_run

        return open_run(self.folder)

    def to_json(self) -> dict[str, Any]:
        """Return the compression as plain data."""
        return {
            "factor": self.factor,
            "epochs": self.epochs,
            "stages": [
                {**asdict(x), "folder": str(x.folder), "errors": [dict(y) for y in x.errors]}
                for x in self.stages
            ],
            "layers": [asdict(x) for x in self.layers],
            "dense": dict(self.dense),
        }


def compress(
    run: Run,
    out: str | os.PathLike[str],
    *,
    factor: str,
    rank: Rank,
    only: Sequence[str] = (),
    epochs: int | None = None,
    lr: float | None = None,
    data: TrainingData | None = None,
    valid: TrainingData | float | None = None,
    test: TrainingData | Sequence[TrainingData] | None = None,
    progress: Progress | None = None,
    warn: Warn = ignore,
) -> Compression:
    """Compress a run; see `Run.compress`."""
    folder = Path(out)
    first = folder.with_name(f"{folder.name}-decomposed")
    count = max(1, run.settings.schedule.epochs // PART) if epochs is None else epochs
    if factor not in GREATEST:
        helps = did_you_mean(factor, GREATEST) or (f"choose one of {', '.join(GREATEST)}",)
        raise fault("OP0763", f"there is no decomposition `{factor}`", helps=helps, file="--factor")
    for x in (folder, first):
        refuse_used(x)
    _refuse_band(run)
    refuse_patches(run.settings, "be compressed", run.graph.name)
    steps = plan(run.graph, run.module, factor, rank, only)
    program = compressed_program(run.graph, steps)
    module = lower(program.graph)
    layers = fill(module, run.module, steps)
    stages = [_measured("trained", run, test, warn)]
    decomposed = _decomposed(run, program, module, folder if count == 0 else first, steps, layers)
    stages.append(_measured("decomposed", decomposed, test, warn))
    _write_errors(decomposed, stages[-1])
    if count:
        changes: dict[str, Any] = {
            "schedule.epochs": count,
            "schedule.warmup": 0,
            "incremental.start": None,
        }
        changes |= {} if lr is None else {"optimizer.lr": lr}
        tuned = _tuned(
            run, program, decomposed.folder, folder, changes, (data, valid, test), progress, warn
        )
        stages.append(_measured("fine-tuned", tuned, test, warn))
    else:
        decomposed.report(test, warn=warn)
    result = Compression(folder, factor, count, tuple(stages), tuple(layers), steps.dense)
    write_file(folder / RECORD, json.dumps(_finite(result.to_json()), indent=1).encode())
    return result


def _refuse_band(run: Run) -> None:
    """Refuse a run with a band, whose width was learnt around the weights as they are.

    Raises:
        OpError: OP0762.
    """
    if run.settings.band.of:
        message = "a run that has learnt a band cannot be compressed"
        helps = ("compress the run that the band was learnt for, then learn the band again",)
        raise fault("OP0762", message, helps=helps, file=str(run.folder))


def _measured(
    name: str, run: Run, test: TrainingData | Sequence[TrainingData] | None, warn: Warn
) -> CompressionStage:
    report = run.evaluate(test, warn=warn)
    weights = sum(x.numel() for x in run.module.parameters())
    return CompressionStage(name, run.folder, weights, tuple(report.rows()))


def _decomposed(
    run: Run,
    program: Program,
    module: OperatorModule,
    folder: Path,
    steps: Plan,
    layers: Sequence[CompressedLayer],
) -> Run:
    """Write the decomposed model as the folder of a run, and open it."""
    from opdsl.workflow.runs.opening import open_run

    resolved = resolve(own_settings(run.folder, run.about))
    write_file(folder / PROGRAM, resolved_text(program).encode())
    write_file(folder / SETTINGS, settings_text(resolved).encode())
    write_weights(folder, module, run.operator.normaliser)
    about = dict(run.about) | {
        "fingerprint": fingerprint(program.graph),
        "compressed": {"factor": steps.factor, "layers": [_finite(asdict(x)) for x in layers]},
    }
    write_about(folder, {k: x for k, x in about.items() if k != "files"})
    return open_run(folder, device=run.device)


def _write_errors(run: Run, stage: CompressionStage) -> None:
    """Write the errors of the decomposed model as those at the end of its run."""
    about = read_about(run.folder)
    end = dict(about.get("finished") or {"epochs": 0, "step": 0, "skipped": 0})
    rows: dict[str, list[Any]] = {"valid": [], "tests": []}
    for x in stage.errors:
        rows["valid" if x["split"] == "valid" else "tests"].append(x)
    write_about(run.folder, about | {"finished": end | rows | {"best_epoch": None}})


def _tuned(
    run: Run,
    program: Program,
    start: Path,
    folder: Path,
    changes: Mapping[str, Any],
    data: tuple[Any, Any, Any],
    progress: Progress | None,
    warn: Warn,
) -> Run:
    """Train the decomposed model for a few epochs on the data of the run, or on other data."""
    from opdsl.workflow.runs.opening import open_run

    sources, places = as_sources(run.graph, *data)
    training = {k: x for k, x in places.items() if k != "test"}  # other tests are another run
    options = settings_in_python({"data": training}, "data")
    resumable = resumable_run(run.folder, options=options, sources=sources, warn=warn)
    own = own_settings(run.folder, run.about)
    resolved = resolve([*own, *options, *(_change(k, x) for k, x in changes.items())])
    section = resumable.data()
    if "test" in places:
        section = section.model_copy(update={"test": places["test"]})
    settings = resolved.settings.model_copy(update={"data": section})
    begin_run(
        program,
        ResolvedSettings(settings, resolved.origins),
        folder,
        listener=as_listener(progress),
        source=start,
        sources=sources,
        warn=warn,
    )
    return open_run(folder, device=run.device)


def _change(key: str, value: Any) -> Setting:
    return Setting(tuple(key.split(".")), value, ORIGIN)


def _finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, since JSON has none."""
    match value:
        case dict():
            return {k: _finite(x) for k, x in value.items()}
        case list() | tuple():
            return [_finite(x) for x in value]
        case float() if not math.isfinite(value):
            return None
    return value
