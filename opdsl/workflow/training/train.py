"""`opdsl.train` and `opdsl.resume`: training from Python, on files or on data in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opdsl.compiler import GRAPH_SUFFIX, check, read, with_places
from opdsl.diagnostics import Source, fault
from opdsl.export import to_program
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.train.engine.callbacks import Callback
from opdsl.workflow.datasets.reading.in_memory import TrainingData, as_sources
from opdsl.workflow.datasets.reading.named_arrays import EXAMPLE
from opdsl.workflow.errors import Warn, warn_in_python
from opdsl.workflow.folder.reading import read_run_folder
from opdsl.workflow.folder.writing import new_folder
from opdsl.workflow.losses.run_losses import with_function_name
from opdsl.workflow.programs.overrides import settings_in_python
from opdsl.workflow.programs.program import Program, resolve_settings
from opdsl.workflow.runs.opening import open_run
from opdsl.workflow.runs.run import Run
from opdsl.workflow.training.execution import begin_run, resume_run
from opdsl.workflow.training.interrupt import Interrupted, lost_connection
from opdsl.workflow.training.progress import Progress, as_listener
from opdsl.workflow.training.resuming import resumable_run
from opdsl.workflow.views import ProgramSource

DATA = "data"  # the origin of settings that lead to the data


def train(
    program: ProgramSource,
    *,
    data: TrainingData | None = None,
    valid: TrainingData | float | None = None,
    test: TrainingData | Sequence[TrainingData] | None = None,
    out: str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | Run | None = None,
    model: str | None = None,
    parameters: Mapping[str, object] | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[Callback] = (),
    warn: Warn = warn_in_python,
    **settings: Any,
) -> Run:
    """Train a model, measure its errors, and write a run with weights and a report page.

    Args:
        program: a path, the text of a program, or a graph.
        data: what to learn from: a file or a folder; functions by the names of the inputs and
            outputs, arrays or tensors (samples, channels, *grid); or a `torch.utils.data.Dataset`
            whose items are such dictionaries or (input, output). As in the train block if not
            given.
        valid: what chooses the best weights: data, a part of `data` between 0 and 1, or "none"; a
            tenth of `data` if not given.
        test: data to measure the final errors on, or a list of these.
        out: the folder of the run, which is empty or does not exist; `runs/MODEL-TIME` if not
            given.
        start: a run with whose weights to begin.
        model: which model, where the program has several.
        parameters: values of the model's parameters, `{"width": 48}`.
        progress: called after each epoch with an `EpochRecord`, such as `print`; or a listener.
        callbacks: objects of `opdsl.Callback`, whose hooks the run calls.
        warn: receives warnings about program and data; they are issued as `OpWarning` if not given.
        settings: of the run, as in a train block: `epochs=20`, `batch=8`, `loss="h1"`,
            `optimizer={"kind": "adamw", "lr": 1e-3}`, `**{"data.resolution": 33}`. `loss` is a
            name, an expression, or a function of predictions and truth (tensors of a model with one
            output, else dictionaries by name, in physical units) that returns a scalar or the error
            of each sample; a third argument `inputs` receives the inputs by name.

    Returns:
        The run, opened on the CPU with its best weights.

    Raises:
        OpError: everything that is wrong with the program (OP01xx to OP03xx), the settings (OP0603,
            OP0604), the loss (OP0700 to OP0709), the data (OP0610 to OP0619), the folder (OP0624),
            the callbacks (OP0740, OP0741) or the machine.
        KeyboardInterrupt: the user stopped the run, which `opdsl.resume` goes on with.

    >>> import numpy as np, opdsl
    >>> a = np.random.default_rng(0).normal(size=(20, 1, 16)).astype("float32")
    >>> u = 2 * a
    >>> run = opdsl.train(PROGRAM, data={"a": a, "u": u}, epochs=2, batch=4, out=FOLDER / "double")
    >>> run.predict(a[:3]).shape
    (3, 1, 16)
    """
    settings, loss = with_function_name(settings)
    ready = program_of(program, model, parameters)
    warn(ready.checked.diagnostics)
    sources, places = as_sources(ready.graph, data, valid, test)
    options = settings_in_python(settings) + settings_in_python({"data": places}, DATA)
    resolved = resolve_settings(ready, options)
    if resolved.settings.data.path is None:
        message = f"nothing says which data `{ready.graph.name}` shall learn from"
        raise fault("OP0602", message, helps=(f"pass them, {EXAMPLE}",), file=ready.source.name)
    folder = Path(out) if out is not None else new_folder(ready.graph.name)
    source = start.folder if isinstance(start, Run) else None if start is None else Path(start)
    with _interruptible(folder):
        summary = begin_run(
            ready,
            resolved,
            folder,
            listener=as_listener(progress),
            source=source,
            sources=sources,
            callbacks=callbacks,
            warn=warn,
            loss=loss,
        )
    return open_run(summary.run)


def resume(
    run: str | os.PathLike[str] | Run,
    *,
    data: TrainingData | None = None,
    valid: TrainingData | float | None = None,
    test: TrainingData | Sequence[TrainingData] | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[Callback] = (),
    warn: Warn = warn_in_python,
    **settings: Any,
) -> Run:
    """Go on with a run that was stopped, or with a finished one for more epochs.

    A resumed run continues bit for bit on the CPU. A finished run without more epochs stays as it
    is.

    Args:
        run: the run, or its folder.
        data, valid, test: as for `opdsl.train`; a run on data in memory needs the same data again.
        progress: called after each epoch with an `EpochRecord`.
        callbacks: objects of `opdsl.Callback`; their states are restored.
        warn: receives warnings about the data.
        settings: that change from now on, such as `epochs=40`; `loss` again if it was a function.

    Raises:
        OpError: OP0610, the data are gone; OP0626, other data or another program; OP0627, no run;
            OP0629, a setting that has to stay; OP0740, OP0741, callbacks.
        KeyboardInterrupt: the user stopped the run again.

    >>> import numpy as np, opdsl
    >>> a = np.random.default_rng(0).normal(size=(20, 1, 16)).astype("float32")
    >>> run = opdsl.train(PROGRAM, data={"a": a, "u": a}, epochs=1, out=FOLDER / "resumed")
    >>> opdsl.resume(run, data={"a": a, "u": a}, epochs=2).metrics.history[-1]["epoch"]
    2
    """
    folder = run.folder if isinstance(run, Run) else Path(run)
    settings, loss = with_function_name(settings)
    graph = run.graph if isinstance(run, Run) else read_run_folder(folder).graph
    sources, places = as_sources(graph, data, valid, test)
    options = settings_in_python(settings) + settings_in_python({"data": places}, DATA)
    resumable = resumable_run(folder, options=options, sources=sources, warn=warn)
    with _interruptible(folder):
        listener = as_listener(progress)
        resume_run(resumable, listener=listener, callbacks=callbacks, warn=warn, loss=loss)
    return open_run(folder)


def program_of(
    program: ProgramSource, model: str | None, parameters: Mapping[str, object] | None
) -> Program:
    """Check a program; for a graph, the text that it was loaded from, else its flat program."""
    if isinstance(program, Graph):
        return _own_program(program) or _flat_program(program)
    source, place = read(program if isinstance(program, str) else Path(program))
    folder = place or Path()
    values = with_places(parameters or {})
    check_result = check(source, model=model, arguments=values, folder=folder)
    check_result.sound()
    return Program(source, folder, check_result, values)


def _own_program(graph: Graph) -> Program | None:
    """Return the program that a graph was loaded from, so that its weights keep their names."""
    span = graph.inputs[0].span if graph.inputs else None
    if span is None or span.source.name.endswith(GRAPH_SUFFIX):
        return None
    source = span.source
    folder, values = Path(source.name).parent, with_places(graph.params)
    check_result = check(source, model=graph.name, arguments=values, folder=folder)
    if check_result.graph is None or fingerprint(check_result.graph) != fingerprint(graph):
        return None
    return Program(source, folder, check_result, values)


def _flat_program(graph: Graph) -> Program:
    source = Source(f"<{graph.name}>", to_program(graph))
    check_result = check(source, model=graph.name)
    check_result.sound()
    return Program(source, Path(), check_result, {})


@contextmanager
def _interruptible(folder: Path) -> Iterator[None]:
    """Turn an interruption of the run into the `KeyboardInterrupt` that Python users expect.

    Raises:
        KeyboardInterrupt: a signal came.
        OpError: OP0805, another process of the run is gone.
    """
    try:
        yield
    except Interrupted as stop:
        text = "stopped before the first checkpoint"
        if stop.saved:
            text = f'stopped and saved; `opdsl.resume("{folder}")` goes on'
        raise KeyboardInterrupt(text) from stop
    except Exception as error:
        if lost := lost_connection(error):
            raise lost from error
        raise
