"""A run from its data to its report, after the command line has been understood.

What comes in: a sound program and its settings. What goes out: a run folder, and a summary as plain
data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from opdsl.cli.bands import kept_part, refuse_bad_band
from opdsl.cli.datasets import (
    binding_of,
    first_of,
    located,
    parts_of,
    read_tests,
    read_training,
)
from opdsl.cli.files import write
from opdsl.cli.judge import judge, lengths, periodic, samplings
from opdsl.cli.programs import Program
from opdsl.cli.report import make_report
from opdsl.cli.run_folder import REPORT, versions, write_beginning, write_weights
from opdsl.data.samples import Samples
from opdsl.files import read_json
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.lower.timings import FOLDER as TIMINGS
from opdsl.lower.timings import Timings, users_folder
from opdsl.lower.torch import OperatorModule, lower
from opdsl.nn.batch import numbers, told_places
from opdsl.summary.room import refuse_too_large, sizes_at, step_bytes
from opdsl.train.checkpoint import FOLDER as CHECKPOINTS
from opdsl.train.device import device_of
from opdsl.train.fit import Outcome, fit
from opdsl.train.folder import lock, refuse_used
from opdsl.train.listener import Listener
from opdsl.train.precision import policy_of
from opdsl.train.randomness import seed_everything
from opdsl.train.rollout import Loop
from opdsl.train.sections import Settings
from opdsl.train.settings import Resolved
from opdsl.train.start import start_from
from opdsl.train.trained import load_trained
from opdsl.workflow.rollout import loop_of

START = "start.json"  # in the folder of a run: which of its first weights were those of another


def train(
    program: Program,
    told: Resolved,
    run: Path,
    *,
    resume: bool,
    listener: Listener,
    source: Path | None = None,
) -> dict[str, Any]:
    """Train, from the weights of the run `source` if there is one; judge; write the report.

    Raises:
        OpError: everything that can be wrong with data, settings, folder and machine.
        Interrupted: a signal came.
    """
    graph, settings = program.graph, told.settings
    if not resume:
        refuse_used(run)
    policy_of(settings.precision, device_of(settings.device))  # refused before data are read
    _refuse_too_large(graph, settings, program.folder)
    loop = loop_of(graph, settings.rollout)
    refuse_bad_band(graph, settings)
    binding = binding_of(graph, settings)
    samples, held = read_training(settings.data, program.folder, binding)
    testing = binding_of(graph, settings, testing=True)
    tests = read_tests(held, settings.eval.resolutions, settings.data.resolution, testing)
    seed_everything(settings.seed)
    module = lower(graph)
    source = source or (_first_source(run) if resume else None)
    start = start_from(source, module) if source else None
    kept = kept_part(graph, settings, start) if settings.band.of else None
    _try(module, [samples, *tests.values()], loop)
    with lock(run):  # a run in progress must not lose its program to us
        write_beginning(run, program, told, samples, held)
        if start:
            write(run / START, json.dumps(start.data(), indent=1).encode())
    _autotune(module, run, wished=settings.autotune)
    seed_everything(settings.seed)
    outcome = fit(
        module,
        samples,
        tests,
        settings,
        run,
        periodic=periodic(graph),
        lengths=lengths(graph),
        samplings=samplings(graph),
        meta={"arch": fingerprint(graph), "model": graph.name, **_ours()},
        resume=resume,
        listener=listener,
        loop=loop,
        kept=kept,
    )
    summary = _finished(program, told, run, module, tests, outcome)
    return summary | ({"start": str(start)} if start else {})


def _autotune(module: OperatorModule, run: Path, *, wished: bool) -> None:
    """Measure kernels, as the run began, and keep the times in its folder.

    A run that goes on makes the plans that it made, whatever else was measured meanwhile: another
    kernel rounds otherwise.
    """
    kept, begun = run / TIMINGS, (run / CHECKPOINTS).is_dir()
    if kept.is_dir() if begun else wished:
        kept.mkdir(exist_ok=True)
        users = users_folder()
        module.autotune(Timings(kept, users) if users else Timings(kept))


def _first_source(run: Path) -> Path | None:
    """The run with whose weights this one began."""
    try:
        return Path(read_json(run / START)["run"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _ours() -> dict[str, str]:
    return {k: v for k, v in versions().items() if k in {"opdsl", "torch"}}


def _refuse_too_large(graph: Graph, settings: Settings, folder: Path) -> None:
    """OP0630 before the data are read and the weights are made."""
    data = settings.data
    assert data.path is not None
    path = located(data.path, folder)
    if data.resolution is not None:
        sizes = sizes_at(graph, (data.resolution,) * graph.inputs[0].space.domain.dims)
    else:
        one = first_of(path, "train" if "train" in parts_of(path) else None)
        points = min((len(x[0]) for x in one.places.values()), default=None)
        sizes = sizes_at(graph, one.resolution, points)
    kind = settings.optimizer.kind
    batch = settings.batch * (settings.rollout or 1)  # every step in time is kept for the gradient
    parts = step_bytes(graph, sizes, batch, settings.precision, kind)
    helps = ("lower `batch`", "train at a lower `data.resolution`")
    refuse_too_large(graph.name, parts, free=_free(settings.device), helps=helps)


def _free(name: str) -> int | None:
    """Bytes that are free on a CUDA device; None for this machine's own memory."""
    device = device_of(name)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _try(module: OperatorModule, sets: Sequence[Samples], loop: Loop | None) -> None:
    """One sample of each set through the model: what breaks its promises is told before the run."""
    module.eval()
    with torch.no_grad():
        for samples in sets:
            one = samples.first(1)
            timed = {k for k, x in one.inputs.items() if loop and loop.timed(k, x)}
            given = {k: numbers(x)[:, 0] if k in timed else x for k, x in one.inputs.items()}
            module(**given, **{k: told_places(x) for k, x in one.given.items()})
    module.train()


def _finished(
    program: Program,
    told: Resolved,
    run: Path,
    module: OperatorModule,
    tests: Mapping[str, Samples],
    outcome: Outcome,
) -> dict[str, Any]:
    """Judge the best weights and write what others read."""
    best = load_trained(run, module)
    write_weights(run, module, best.normaliser)
    rows = judge(module, best.normaliser, program.graph, tests, told.settings)
    make_report(program.graph, told, run, module, best.normaliser, tests, outcome.history, rows)
    return {
        "run": str(run),
        "report": str(run / REPORT),
        "epochs": outcome.epochs,
        "steps": outcome.steps,
        "skipped": outcome.skipped,
        "best_epoch": outcome.best_epoch,
        "train_loss": outcome.history[-1]["train_loss"] if outcome.history else None,
        "tests": rows,
        "notes": list(outcome.notes),
    }
