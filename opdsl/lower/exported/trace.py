"""A module as a program of torch.export, with batch and resolution free where they can be.

The program contains no native code and no plan of ours: kernels are those of the plan of the first
call, or one that the format needs, and matrices are made in the program from the size that it
meets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain
from opdsl.lower.exported.calls import Draw, ExportCall, call_values, finer_roots
from opdsl.lower.exported.silence import quiet
from opdsl.lower.module import OperatorModule

STEPS = (1, 2, 4, 8, 16)  # points by which a resolution may have to differ from the traced one

InputShape = tuple[int | None, ...]  # of an input; None: free
DynamicAxes = dict[int, object]  # of an input, those that torch shall find out about
RunFunction = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]


class Free(StrEnum):
    """Sizes that may differ from those of the traced call."""

    ALL = "batch and resolution"
    BATCH = "batch"
    NONE = "nothing"


@dataclass(frozen=True, slots=True)
class Subject:
    """The module to be exported.

    Attributes:
        operator: the module of the graph.
        whole: the module that is called: the operator itself, or a normaliser around it.
        draw: makes values of an input from normal numbers.
    """

    graph: Graph
    operator: OperatorModule
    whole: nn.Module
    draw: Draw = lambda _, x: x

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of real numbers, that of the weights."""
        return next((x.dtype for x in self.operator.parameters()), torch.float32)

    def values(self, call: ExportCall) -> tuple[Tensor, ...]:
        """Make reproducible inputs of these sizes."""
        return call_values(self.graph, call, self.dtype, self.draw)

    def __call__(self, call: ExportCall) -> tuple[Tensor, ...]:
        """Compute the outputs for these inputs by the module itself."""
        with torch.no_grad():
            return as_outputs(self.whole(*self.values(call)))


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced program.

    Attributes:
        shapes: of the inputs.
        calls: those at which it should equal the module; the first is the traced one.
        free: the sizes that were meant to be free.
        step: a free resolution differs from the traced one by multiples of this.
    """

    subject: Subject
    program: ExportedProgram
    shapes: tuple[InputShape, ...]
    calls: tuple[ExportCall, ...]
    free: Free = Free.ALL
    step: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        graph = self.subject.graph
        return (*(x.name for x in graph.inputs), *(x.name for x in graph.side_inputs()))

    @property
    def free_batch(self) -> bool:
        """Whether the program accepts any number of samples."""
        return any(x[0] is None for x in self.shapes[: len(self.subject.graph.inputs)])


def trace(
    subject: Subject, call: ExportCall, free: Free = Free.ALL, kernel: str | None = None
) -> Traced:
    """Trace a module at a call.

    Args:
        subject: the module.
        call: resolution and batch.
        free: which sizes another call may choose.
        kernel: used by all nodes that have it; None: as planned.

    Raises:
        OpError: OP0650, the model is on points.
        Exception: torch's own, for a module that it cannot trace.
    """
    refuse_points(subject.graph)
    operator = subject.operator
    operator.latest = operator.plan(call.roots, call.batch)
    inputs = subject.values(call)
    sizes = _free_sizes(inputs, len(subject.graph.inputs), free)
    with _force_kernel(operator, kernel):
        program = export_quietly(subject.whole, inputs, (sizes,))
    result = Traced(subject, program, _shapes(program), (call,), free)
    return result if free is Free.NONE else _with_calls(result)


def refuse_points(graph: Graph) -> None:
    """Refuse a model on points, whose neighbour search no file can hold.

    Raises:
        OpError: OP0650, it is on points.
    """
    domains = [x.space.domain for x in (*graph.inputs, *graph.outputs)]
    domains += [x.domain for x in graph.side_inputs()]
    points = next((y for x in domains for y in x.parts if y.scattered), None)
    if points is None:
        return
    message = f"`{graph.name}` cannot be exported: `{points}` is a set of points"
    notes = ("which points are neighbours is found anew for each call, by code that no file holds",)
    helps = ("call the module from Python: `opdsl.compile`, or `opdsl predict`",)
    raise fault("OP0650", message, notes=notes, helps=helps, file=graph.name)


def as_outputs(found: object) -> tuple[Tensor, ...]:
    """Put the outputs of a call in order, be they a tensor, a sequence or a dictionary."""
    if isinstance(found, Tensor):
        return (found,)
    return tuple(found.values() if isinstance(found, dict) else found)  # type: ignore[arg-type]  # nothing else is returned


# --- tracing ----------------------------------------------------------------------------------


@contextmanager
def _force_kernel(operator: OperatorModule, kernel: str | None) -> Iterator[None]:
    """Make every node that has this kernel use it within the context."""
    previous = operator.force_kernel
    operator.force_kernel = kernel or previous
    try:
        yield
    finally:
        operator.force_kernel = previous


def _free_sizes(given: Sequence[Tensor], count: int, free: Free) -> tuple[DynamicAxes, ...]:
    """Return the free axes of each input; those of a static field are the axes of its grid."""
    return tuple(_axes(x, field=i >= count, free=free) for i, x in enumerate(given))


def _axes(x: Tensor, *, field: bool, free: Free) -> DynamicAxes:
    batch = () if field or free is Free.NONE else (0,)
    grid_axes = range(0 if field else 2, x.ndim) if free is Free.ALL else ()
    return dict.fromkeys((*batch, *grid_axes), Dim.AUTO)


def export_quietly(module: nn.Module, given: Sequence[Tensor], sizes: object) -> ExportedProgram:
    """Export a module at these inputs, without warnings.

    Args:
        module: the module.
        given: its inputs.
        sizes: which are free, for each of its arguments; `*inputs` is one.

    Raises:
        OpError: OP0650, asserts are switched off.
    """
    if not __debug__:  # where an export holds is found by its guards, which are asserts of torch
        raise fault(
            "OP0650",
            "a model cannot be exported under `python -O`",
            notes=("torch guards what it exports by asserts, which `-O` removes",),
            helps=("run Python without `-O`, and without PYTHONOPTIMIZE",),
        )
    with quiet(), torch.no_grad():
        return torch.export.export(module, tuple(given), dynamic_shapes=sizes)  # type: ignore[arg-type]  # torch's type is narrower than what it takes


def _shapes(program: ExportedProgram) -> tuple[InputShape, ...]:
    by_name = {x.name: x.meta["val"].shape for x in program.graph.nodes if x.op == "placeholder"}
    inputs = (by_name[str(x)] for x in program.graph_signature.user_inputs)
    return tuple(tuple(n if isinstance(n, int) else None for n in x) for x in inputs)


# --- where it holds ---------------------------------------------------------------------------


def _with_calls(found: Traced) -> Traced:
    """Add two further resolutions and batches, as far as these are free."""
    first = found.calls[0]
    # tracers tend to specialise on a batch of one, so that call is the last and optional one
    batches = (first.batch + 1, 1) if found.free_batch else (first.batch, first.batch)
    run = found.program.module()
    for step in STEPS if found.free is Free.ALL else (1,):
        second = ExportCall(_finer_call(found, step), batches[0])
        if _accepts(run, found.subject, second):
            third = ExportCall(_finer_call(found, _half_as_large(first, step)), batches[1])
            calls = [first, second, *([third] if _accepts(run, found.subject, third) else [])]
            return replace(found, calls=tuple(_distinct(calls)), step=step)
    return replace(found, step=0)


def _finer_call(found: Traced, more: int) -> dict[str, tuple[int, ...]]:
    """Return a resolution that is finer on the free axes, for each declared domain."""
    graph, roots = found.subject.graph, found.calls[0].roots
    bound = set(_bound_axes(found))
    finer = finer_roots(graph, roots, more)
    return {
        k: tuple(roots[k][i] if (k, i) in bound else n for i, n in enumerate(x))
        for k, x in finer.items()
    }


def _bound_axes(found: Traced) -> Iterator[tuple[str, int]]:
    """Yield the axes of declared domains on which an input accepts the traced size only."""
    for domain, shape in zip(_domains(found.subject.graph), found.shapes, strict=True):
        for i, n in enumerate(shape[len(shape) - domain.dims :]):
            if n is not None and domain.modes is None:
                part, local = domain.part(i)
                yield part.name, local


def _domains(graph: Graph) -> Iterator[Domain]:
    yield from (x.space.domain for x in graph.inputs)
    yield from (x.domain for x in graph.side_inputs())


def _half_as_large(call: ExportCall, step: int) -> int:
    """Return additional points for a grid about half as large again, a multiple of the step."""
    most = max((n for x in call.roots.values() for n in x), default=0)
    axes = max((len(x) for x in call.roots.values()), default=1)
    return -(-most // (2 * axes * step)) * step


def _accepts(run: Callable[..., object], subject: Subject, call: ExportCall) -> bool:
    try:
        with torch.no_grad():
            run(*subject.values(call))
    except (AssertionError, RuntimeError):  # guards of torch, of either kind
        return False
    return True


def _distinct(calls: Sequence[ExportCall]) -> Iterator[ExportCall]:
    for i, x in enumerate(calls):
        if x not in calls[:i]:
            yield x
