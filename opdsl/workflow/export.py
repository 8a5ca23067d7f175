"""Models as files that run without opdsl, and as folders of program, graph and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from opdsl.ir.graph import Graph
from opdsl.workflow.errors import ArgumentError
from opdsl.workflow.folder.reading import read_run_folder
from opdsl.workflow.views import ProgramSource, as_graph

if TYPE_CHECKING:
    from opdsl.lower.exported import ExportReport, Subject
    from opdsl.lower.module import OperatorModule
    from opdsl.workflow.programs.program import Program
    from opdsl.workflow.runs.run import Run

ExportFormatName = Literal["pt2", "onnx", "aoti"]
ENDINGS: dict[str, ExportFormatName] = {".aoti.pt2": "aoti", ".pt2": "pt2", ".onnx": "onnx"}


@dataclass(frozen=True, slots=True, repr=False)
class ExportedModel:
    """A model as a file that runs without opdsl; `opdsl.export` returns one.

    Attributes:
        report: what was written, and how near it is to the model.
        axes: the names of the axes of each input.

    See `opdsl.export` for an example.
    """

    report: ExportReport
    axes: Mapping[str, tuple[str, ...]]

    @property
    def path(self) -> Path:
        """The path of the exported file."""
        return self.report.path

    @property
    def difference(self) -> float:
        """The greatest difference from the model, relative to the greatest value."""
        return self.report.difference

    @property
    def usage(self) -> tuple[str, ...]:
        """Lines of Python that run the file."""
        return self.report.usage

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return self.report.to_json()

    def __repr__(self) -> str:
        return f"<ExportedModel {self.path}: differs by {self.difference:.1e}>"


def export(
    model: ProgramSource | Run,
    out: str | PathLike[str],
    *,
    format: ExportFormatName | None = None,  # noqa: A002  the word that the command line uses
    at: str | None = None,
    batch: int = 2,
    fixed: bool = False,
    double: bool = False,
    last: bool = False,
    seed: int = 0,
    parameters: Mapping[str, object] | None = None,
) -> ExportedModel:
    """Write a model as a file that runs without opdsl, and compare it with the model.

    The file of a run takes and returns physical values. It is opened again and compared at several
    resolutions and batches; a file that differs is not kept.

    Args:
        model: a run, the folder of one, or a program, which has fresh weights.
        out: the file: `.pt2` of torch.export, `.aoti.pt2` of AOTInductor, `.onnx` of ONNX.
        format: `pt2`, `aoti` or `onnx`, if the name does not say it.
        at: the resolution at which the model is traced, as `"x=64,y=64"`.
        batch: samples where it is traced.
        fixed: whether the file is for this batch and resolution only, which is faster.
        double: whether weights and values are float64.
        last: of a folder, the last weights instead of the best.
        seed: of fresh weights.
        parameters: values of the parameters of a program.

    Raises:
        OpError: OP0645, a package is missing; OP0650, the model cannot be exported; OP0651, the
            file computes something else; OP0625, it cannot be written.

    >>> import opdsl
    >>> exported = opdsl.export(PROGRAM, FOLDER / "line.pt2", at="x=16", fixed=True)
    >>> exported.path.name, exported.difference < 1e-5
    ('line.pt2', True)
    """
    from opdsl.lower.exported import ExportCall, axis_names, example
    from opdsl.lower.exported import export as write
    from opdsl.summary import parse_at

    path = Path(out)
    kind = format or kind_of(path)
    subject, physical = _subject(model, last=last, seed=seed, parameters=parameters)
    if double:
        subject.whole.double()
    roots = example(subject.graph) if at is None else parse_at(at, subject.graph)
    about = {"values": "physical" if physical else "as in the program"}
    report = write(subject, ExportCall(roots, batch), path, kind=kind, fixed=fixed, about=about)
    return ExportedModel(report, axis_names(subject.graph))


def kind_of(out: Path) -> ExportFormatName:
    """Return what a file is by its name, `pt2` if the name does not say it."""
    return next((k for x, k in ENDINGS.items() if out.name.endswith(x)), "pt2")


def _subject(
    model: ProgramSource | Run,
    *,
    last: bool,
    seed: int,
    parameters: Mapping[str, object] | None,
) -> tuple[Subject, bool]:
    """Return the module to export, and whether its values are in physical units."""
    from opdsl.workflow.runs.run import Run

    if isinstance(model, Run):
        return _of_operator(model), True
    if not isinstance(model, Graph) and "\n" not in str(model) and Path(model).is_dir():
        if parameters:
            message = "the model of a run has its parameters already"
            raise ArgumentError(message)
        return _of_folder(Path(model), last=last), True
    return _of_program(as_graph(model, None, parameters), seed), False


def _of_operator(run: Run) -> Subject:
    import copy

    from opdsl.lower.exported import Subject
    from opdsl.lower.exported.trace import refuse_points
    from opdsl.workflow.programs.patches import refuse_patches

    refuse_points(run.graph)
    refuse_patches(run.settings, "be exported", run.graph.name)
    operator = copy.deepcopy(run.operator).cpu()
    return Subject(run.graph, operator.module, operator, operator.draw)


def _of_folder(folder: Path, *, last: bool) -> Subject:
    """Return the module of a run with its normaliser."""
    from opdsl.lower.exported import Subject
    from opdsl.lower.exported.trace import refuse_points
    from opdsl.workflow.folder.weights import trained_module
    from opdsl.workflow.programs.patches import refuse_patches
    from opdsl.workflow.runs.operator import Operator

    run = read_run_folder(folder)
    refuse_points(run.graph)
    refuse_patches(run.settings, "be exported", run.graph.name)
    module, info = trained_module(run.folder, run.graph, run.settings, last=last)
    operator = Operator(module, info.normaliser)
    return Subject(run.graph, module, operator, operator.draw)


def _of_program(graph: Graph, seed: int) -> Subject:
    from opdsl.lower.exported import Subject
    from opdsl.lower.exported.trace import refuse_points

    refuse_points(graph)
    module = fresh_module(graph, seed)
    return Subject(graph, module, module)


def fresh_module(graph: Graph, seed: int) -> OperatorModule:
    """Return the module of a graph with fresh weights.

    Raises:
        OpError: OP0630, the weights do not fit into the free memory.
    """
    from opdsl.summary.memory_check import refuse_too_large, weight_bytes

    refuse_too_large(graph.name, {"weights": weight_bytes(graph)})
    import torch

    from opdsl.lower.module import lower

    torch.manual_seed(seed)
    return lower(graph)


def save_fresh(program: Program, out: Path, seed: int) -> Path:
    """Write a program, its graph and fresh weights into a new folder.

    Raises:
        OpError: OP0630, the weights do not fit into the free memory; OP0625, the folder cannot be
            written.
        ArgumentError: the program is a graph, which has no text.
    """
    from opdsl.export import save_compiled
    from opdsl.workflow.programs.resolved_text import resolved_text

    text = resolved_text(program)
    return save_compiled(program.graph, fresh_module(program.graph, seed), text, out)
