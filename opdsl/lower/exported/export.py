"""`export`: trace, write, open again, compare; a file that differs from its module is not kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opdsl.diagnostics import OpError, fault
from opdsl.files import replacing
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.lower.exported.calls import ExportCall
from opdsl.lower.exported.formats import FORMATS, ExportFormat
from opdsl.lower.exported.real import as_real
from opdsl.lower.exported.trace import (
    Free,
    InputShape,
    RunFunction,
    Subject,
    Traced,
    refuse_points,
    trace,
)
from opdsl.version import VERSION

MAX_MESSAGE = 200  # characters of torch's message that are quoted
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how near it is to the module.

    Attributes:
        size: bytes of the file.
        inputs: name -> shape, None where a size is free.
        step: a free resolution differs from the first call's by multiples of this.
        calls: those at which file and module were compared.
        difference: the greatest one, relative to the greatest value of the output.
        free: which sizes are free.
        said: why fewer sizes are free than could be.
        usage: lines of Python that run the file.
    """

    path: Path
    size: int
    inputs: dict[str, InputShape]
    step: int
    calls: tuple[ExportCall, ...]
    difference: float
    tolerance: float
    free: Free = Free.ALL
    said: str = ""
    usage: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert the report to plain data for `json.dumps`."""
        calls = [
            {"at": {k: list(x) for k, x in c.roots.items()}, "batch": c.batch} for c in self.calls
        ]
        return {
            "path": str(self.path),
            "bytes": self.size,
            "inputs": {k: list(x) for k, x in self.inputs.items()},
            "step": self.step,
            "calls": calls,
            "difference": self.difference,
            "tolerance": self.tolerance,
            "free": str(self.free),
            "fixed_because": self.said or None,
            "usage": list(self.usage),
        }


def export(
    subject: Subject,
    call: ExportCall,
    out: Path,
    *,
    kind: str = "pt2",
    fixed: bool = False,
    about: Mapping[str, str] | None = None,
    tolerance: float | None = None,
) -> ExportReport:
    """Write a module as the file `out`.

    Args:
        subject: the module.
        call: resolution and batch at which it is traced.
        out: the file.
        kind: a key of `FORMATS`.
        fixed: whether the file is for this batch and resolution only.
        about: further metadata of the file.
        tolerance: the greatest relative difference; by default that of the number format.

    Raises:
        OpError: OP0645, a package is missing; OP0650, it cannot be exported; OP0651, the file
            computes something else; OP0625, it cannot be written.
    """
    form = FORMATS[kind]
    form.ready()
    refuse_points(subject.graph)
    limit = TOLERANCES[subject.dtype] if tolerance is None else tolerance
    words = _file_metadata(subject.graph) | dict(about or {})
    with _evaluation_mode(subject), _replacing(out) as path:
        traced, difference, limitation = _trace_and_write(
            subject, call, path, form, words, limit, fixed=fixed
        )
        size = path.stat().st_size
    return ExportReport(
        path=out,
        size=size,
        inputs=dict(zip(traced.names, traced.shapes, strict=True)),
        step=traced.step,
        calls=traced.calls,
        difference=difference,
        tolerance=limit,
        free=traced.free,
        said=limitation,
        usage=form.usage(out, traced.names),
    )


def _file_metadata(graph: Graph) -> dict[str, str]:
    """Return the metadata of every file: version, model and fingerprint."""
    return {"opdsl": VERSION, "model": graph.name, "fingerprint": fingerprint(graph)}


def _trace_and_write(
    subject: Subject,
    call: ExportCall,
    path: Path,
    form: ExportFormat,
    about: Mapping[str, str],
    limit: float,
    *,
    fixed: bool,
) -> tuple[Traced, float, str]:
    """Write the file with as many free sizes as possible.

    A block that torch cannot trace through all sizes, or a runtime cannot run, is exported for
    fewer.

    Returns:
        The program in the file, its difference from the module, and why fewer sizes are free.
    """
    freest, limitation = (Free.NONE, "") if fixed else form.freest(subject.graph)
    for free in (*Free,)[(*Free,).index(freest) :]:
        try:
            traced = trace(subject, call, free, form.kernel)
            form.write(traced, path, {**about, "free": str(free), "traced": str(call)})
            return traced, _compare(traced, path, form, limit), limitation
        except (OpError, OSError):
            raise
        except Exception as error:  # noqa: BLE001  a tracer meets whatever a block does
            limitation = _first_line(error)
    name = subject.graph.name
    message = f"`{name}` cannot be exported as a {form.suffix} file"
    raise fault("OP0650", message, notes=(limitation,), file=name)


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's first cause, since torch appends pages of text."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:MAX_MESSAGE]}"


@contextmanager
def _evaluation_mode(subject: Subject) -> Iterator[None]:
    """Set evaluation mode within the context."""
    mode = subject.whole.training
    subject.whole.eval()
    try:
        yield
    finally:
        subject.whole.train(mode)


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Yield a path in a new folder beside `out`; its file replaces `out` when the context ends."""
    try:
        with replacing(out) as path:
            yield path
    except OSError as error:
        message = f"the file could not be written: {(error.strerror or str(error)).lower()}"
        raise fault("OP0625", message, file=str(out)) from error


def _compare(traced: Traced, path: Path, form: ExportFormat, limit: float) -> float:
    """Return the greatest relative difference between the file, opened again, and the module."""
    run: RunFunction = form.open_file(path)
    worst = 0.0
    for call in traced.calls:
        with torch.no_grad():
            result = run(traced.subject.values(call))
        difference = max(
            _relative_difference(x, y) for x, y in zip(result, traced.subject(call), strict=True)
        )
        if not difference <= limit:  # a NaN is far from everything
            message = (
                f"the file differs from the model by {difference:.2g} at {call}, "
                f"allowed is {limit:.2g}"
            )
            helps = ("nothing was kept; `--fixed` may be nearer",)
            raise fault("OP0651", message, helps=helps, file=path.name)
        worst = max(worst, difference)
    return worst


def _relative_difference(x: Tensor, y: Tensor) -> float:
    """Return max |x - y| / max |y|; infinite if the shapes differ."""
    x, y = as_real(x), as_real(y)
    if x.shape != y.shape:
        return float("inf")
    most = y.abs().max().item() if y.numel() else 0.0
    gap = (x - y).abs().max().item() if y.numel() else 0.0
    return gap / most if most else gap
