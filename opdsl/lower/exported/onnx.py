"""ONNX files, for onnxruntime and others.

ONNX has no complex numbers, see `opdsl.lower.exported.real`; complex inputs and outputs are
(..., 2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.lower.exported.calls import axis_names
from opdsl.lower.exported.real import RealParts, as_real, fold_constants
from opdsl.lower.exported.silence import silent
from opdsl.lower.exported.trace import Free, RunFunction, Traced, export_quietly

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
EXTRA = "pip install 'opdsl[onnx]'"
SYMBOL = re.compile(r"s\d+")  # torch's name of a free size
MAX_BYTES = 2**31 - 1  # bytes of one message, by the format


def check_packages() -> None:
    """Check that the packages that write and run ONNX are installed.

    Raises:
        OpError: OP0645, one is missing.
    """
    missing = [x for x in PACKAGES if find_spec(x) is None]
    if missing:
        message = f"ONNX needs the package {missing[0]}, which is not installed"
        raise fault("OP0645", message, helps=(f"install it: {EXTRA}",))


def freest(graph: Graph) -> tuple[Free, str]:
    """Free only the batch where tables need operations that ONNX lacks, and must be stored."""
    domains = (x.domain for x in graph.spaces.values())
    if any(y.kind == "sphere" for x in domains for y in x.parts):
        # recurrences of thousands of operations
        return Free.BATCH, "tables of spherical harmonics are stored in the file"
    stored = next((x.keyword for x in graph.nodes if not x.block.traceable_tables), None)
    if stored is not None:
        return Free.BATCH, f"tables of `{stored}` are stored in the file"
    return Free.ALL, ""


def write(traced: Traced, path: Path, about: Mapping[str, str]) -> None:
    """Write the program as an `.onnx` file."""
    with silent():
        result = torch.onnx.export(_real_program(traced), dynamo=True, verbose=False)
    assert result is not None  # torch returns None only where it writes a file
    _rename_ports(result, traced)
    result.model.metadata_props.update(about)
    result.model.producer_name, result.model.producer_version = "opdsl", about["opdsl"]
    message = result.model_proto
    if message.ByteSize() > MAX_BYTES:
        raise fault("OP0650", "an ONNX file has no more than 2 GiB", file=path.name)
    path.write_bytes(message.SerializeToString())


def open_file(path: Path) -> RunFunction:
    """Load the function in a file, run by onnxruntime on one processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]

    def run(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values = (as_real(x).numpy() for x in given)
        result = session.run(None, dict(zip(names, values, strict=True)))
        return tuple(map(torch.from_numpy, result))

    return run


def usage(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return lines of Python that run the file."""
    feeds = ", ".join(f'"{x}": {x}' for x in names)
    return (
        "import onnxruntime",
        f'session = onnxruntime.InferenceSession("{path}")',
        f"session.run(None, {{{feeds}}})  # NumPy arrays",
    )


# --- parts of writing -------------------------------------------------------------------------


def _real_program(traced: Traced) -> ExportedProgram:
    """Trace the program again, with real tensors only."""
    inputs, program = traced.subject.values(traced.calls[0]), traced.program
    sizes = tuple({i: Dim.AUTO for i, n in enumerate(x) if n is None} for x in traced.shapes)
    if traced.free is not Free.ALL:
        # first, so that tables are not taken apart: they may be thousands of operations
        program = export_quietly(fold_constants(program.module(check_guards=False)), inputs, sizes)
    return export_quietly(RealParts(program, inputs), [*map(as_real, inputs)], (sizes,))


def _rename_ports(made: Any, traced: Traced) -> None:
    """Name inputs, outputs and their axes as in the model."""
    graph, names = made.model.graph, axis_names(traced.subject.graph)
    outputs = [x.name for x in traced.subject.graph.outputs]
    _free_names({*traced.names, *outputs}, graph)
    for value, name in zip(graph.inputs, traced.names, strict=True):
        value.name = name
        _rename_axes(made, value, names[name])
    for value, name in zip(graph.outputs, outputs, strict=True):
        value.name = f"{name}_out" if name in traced.names else name


def _free_names(names: set[str], graph: Any) -> None:
    """Rename other values that have one of these names, so that ports can take them."""
    for node in graph.all_nodes():
        for value in node.outputs:
            if value.name in names:
                value.name = f"{value.name}_inside"


def _rename_axes(made: Any, value: Any, names: tuple[str, ...]) -> None:
    symbols = {str(x) for x in value.shape if not isinstance(x, int)}
    pairs = zip(value.shape, names, strict=False)  # a complex one has an axis of parts behind
    renamed = {str(x): name for x, name in pairs if str(x) in symbols}
    made.rename_axes({k: x for k, x in renamed.items() if SYMBOL.fullmatch(k)})
