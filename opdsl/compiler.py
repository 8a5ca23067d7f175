"""The stages in order: text, tree, graph, checks, module.

    text --parse--> tree.File --elaborate--> Graph --CHECKS--> sound Graph --lower--> nn.Module

Each function here runs a prefix of that line. `check` returns every diagnostic; `load` and
`compile` raise them. torch is imported by `compile` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os.path import isdir
from pathlib import Path
from typing import TYPE_CHECKING

from opdsl.checks import CHECKS, WARNINGS, bidirectional, levelled, unused, unused_names
from opdsl.checks import levels as levels_of
from opdsl.diagnostics import Diagnostic, OpError, Source, did_you_mean, fault
from opdsl.diagnostics.codes import Level
from opdsl.elaborate import Argument, elaborate, models
from opdsl.elaborate.bind.settings import (
    check_train_blocks,
    settings,
    train_block,
)
from opdsl.elaborate.evaluate.budget import Budget
from opdsl.elaborate.evaluate.values import Value, Word
from opdsl.files import read_text
from opdsl.ir.graph import Graph
from opdsl.setting import Setting
from opdsl.syntax.parser import parse
from opdsl.syntax.tree import File

if TYPE_CHECKING:
    from opdsl.lower.module import OperatorModule

SUFFIX = ".op"
GRAPH_SUFFIX = ".json"  # of a graph as `opdsl ir` writes it
FILES = (SUFFIX, GRAPH_SUFFIX)
NO_MODEL = "OP0210"


def _drawing(graph: Graph) -> str | None:
    """Draw a graph for a notebook; None where Graphviz is missing."""
    from opdsl.render import render

    try:
        return str(render(graph, "svg"))
    except OpError:
        return None


Graph.drawing = staticmethod(_drawing)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A checked program; `opdsl.check` returns one.

    Attributes:
        file: its syntax tree.
        graph: the model; None if a diagnostic is an error.
        diagnostics: errors and warnings, in the order of the text.
        levels: `allow`, `warn` or `deny` for each warning in the whole file, by its name.

    >>> import opdsl
    >>> opdsl.check(PROGRAM).sound().name
    'Line'
    """

    file: File
    graph: Graph | None
    diagnostics: tuple[Diagnostic, ...]
    levels: Mapping[str, Level] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The diagnostics that are errors."""
        return tuple(x for x in self.diagnostics if x.severity == "error")

    def sound(self) -> Graph:
        """Return the graph.

        Raises:
            OpError: every error of the program.
        """
        if self.graph is None:
            raise OpError(*self.errors)
        return self.graph


@dataclass(frozen=True)
class _Parsed:
    """A parsed program, with the lints of its text, which are the same for all of its models."""

    file: File
    faults: tuple[Diagnostic, ...]

    @cached_property
    def lints(self) -> tuple[Diagnostic, ...]:
        """Names that nothing uses, and characters that mislead a reader."""
        text = self.file.source
        return (*unused(self.file), *unused_names(self.file), *bidirectional(text))


def read(path_or_text: str | Path) -> tuple[Source, Path | None]:
    """Read a source, and return it with the folder from which it imports (None for a bare text).

    A `Path`, and a text of one line that ends in `.op` or `.json`, is a file.

    Raises:
        OpError: OP0202, the file cannot be read, or is a folder.
    """
    text = str(path_or_text)
    if "\n" not in text and isdir(text):  # noqa: PTH112  a text may be no path
        raise _folder(Path(text))
    if isinstance(path_or_text, str) and ("\n" in text or not text.endswith(FILES)):
        return Source("<text>", text), None
    path = Path(path_or_text)
    try:
        return Source(text, read_text(path)), path.parent
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def check(
    source: Source | str | Path,
    *,
    model: str | None = None,
    arguments: Mapping[str, Argument] | None = None,
    folder: Path | None = None,
    levels: Mapping[str, Level] | None = None,
) -> CheckResult:
    """Check a program before run time; its errors are returned and not raised.

    Args:
        source: the path of a program, or its text. A source whose name ends in `.json` contains a
            graph, which has no model to choose and no parameters to set.
        model: which model, where the program has several.
        arguments: values of the model's parameters.
        folder: where the program is; its imports stay inside.
        levels: `allow`, `warn` or `deny` for warnings, by code.

    Raises:
        OpError: OP0202, the file cannot be read.

    >>> import opdsl
    >>> wrong = opdsl.check(PROGRAM.replace("out = width", "out = wide"))
    >>> [x.code for x in wrong.errors]
    ['OP0208']
    """
    if not isinstance(source, Source):
        source, folder = read(source)
    if source.name.endswith(GRAPH_SUFFIX):
        return _check_graph(source, model, arguments or {}, levels or {})
    return _check_file(_Parsed(*parse(source)), model, arguments, folder, levels or {}, Budget())


def check_each(
    source: Source, *, folder: Path | None = None, levels: Mapping[str, Level] | None = None
) -> Iterator[CheckResult]:
    """Check every model of a program, which is read once; a file of blocks once, without a graph.

    Args:
        source: a program or a graph.
        folder: where the program is; its imports stay inside.
        levels: `allow`, `warn` or `deny` for warnings, by code.
    """
    if source.name.endswith(GRAPH_SUFFIX):
        yield _check_graph(source, None, {}, levels or {})
        return
    parsed, budget = _Parsed(*parse(source)), Budget()
    names: list[str | None] = [x.name.text for x in models(parsed.file)]
    for name in names or [None]:
        yield _check_file(parsed, name, None, folder, levels or {}, budget)
        if budget.exhausted:
            return


def _check_file(
    parsed: _Parsed,
    model: str | None,
    arguments: Mapping[str, Argument] | None,
    folder: Path | None,
    levels: Mapping[str, Level],
    budget: Budget,
) -> CheckResult:
    """Elaborate and check one model of a parsed program."""
    file = parsed.file
    source = file.source
    graph, more = elaborate(file, model=model, arguments=arguments, folder=folder, budget=budget)
    later = [y for x in CHECKS for y in x(graph)] if graph else []
    diagnostics = (*parsed.faults, *more, *later, *check_train_blocks(file))
    known = models(file)
    blocks_only = not known and all(x.code == NO_MODEL for x in diagnostics)
    if not blocks_only and any(x.severity == "error" for x in diagnostics):
        return CheckResult(file, None, _in_order(diagnostics, source))
    # only now: what an error cuts off looks unused
    lints = [y for x in WARNINGS for y in x(graph)] if graph else []
    everything = (*diagnostics, *parsed.lints, *lints)
    return _levelled(file, graph, everything, levels, whole=len(known) == 1 and not arguments)


def _levelled(
    file: File,
    graph: Graph | None,
    diagnostics: Sequence[Diagnostic],
    levels: Mapping[str, Level],
    *,
    whole: bool,
) -> CheckResult:
    """Return the result, with warnings at their configured levels."""
    configured = levelled(diagnostics, file.source, levels, whole=whole)
    denied = any(x.severity == "error" for x in configured)
    ordered = _in_order(configured, file.source)
    return CheckResult(file, None if denied else graph, ordered, levels_of(file.source, levels))


def _check_graph(
    source: Source,
    model: str | None,
    arguments: Mapping[str, Argument],
    levels: Mapping[str, Level],
) -> CheckResult:
    """Read and check a graph file."""
    from opdsl.export import read_graph

    file = File(source, None, ())
    try:
        graph = read_graph(source)
        _refuse_choices(graph, model, arguments, source)
    except OpError as error:
        return CheckResult(file, None, error.diagnostics)
    faults = tuple(y for x in CHECKS for y in x(graph))
    if faults:
        return CheckResult(file, None, _in_order(faults, source))
    warnings = [y for x in WARNINGS for y in x(graph)]
    return _levelled(file, graph, warnings, levels, whole=True)


def _refuse_choices(
    graph: Graph, model: str | None, arguments: Mapping[str, Argument], source: Source
) -> None:
    """Refuse another model and parameters for a graph file, whose model is fixed.

    Raises:
        OpError: OP0210, there is no such model; OP0207, there is no such parameter.
    """
    if model not in {None, graph.name}:
        raise fault(
            "OP0210",
            f"this file holds no model `{model}`",
            helps=did_you_mean(model or "", [graph.name]) or (f"it holds `{graph.name}`",),
            file=source.name,
        )
    if arguments:
        raise fault(
            "OP0207",
            f"`{graph.name}` has no parameter `{next(iter(arguments))}` left to set",
            notes=("the parameters of a graph file have their values",),
            helps=("set it in the program from which the file was made",),
            file=source.name,
        )


def load(path_or_text: str | Path, model: str | None = None, **params: object) -> Graph:
    """Load the checked graph of a model.

    Args:
        path_or_text: a `.op` or `.json` file, or the text of a program.
        model: which model, where the program has several.
        params: values of the model's parameters.

    Raises:
        OpError: everything that is wrong with the program.

    >>> import opdsl
    >>> opdsl.load(PROGRAM, width=4)
    <Graph Line: a -> u, 6 nodes>
    """
    return check(path_or_text, model=model, arguments=with_places(params)).sound()


def compile(  # noqa: A001  the verb of the language, as in re.compile
    path_or_text: str | Path | Graph, model: str | None = None, **params: object
) -> OperatorModule:
    """Lower a model to a torch module with fresh weights.

    The module takes its inputs in the order of the program or by name, (batch, channels, *grid) or
    (batch, channels, points), and returns a tensor for one output, a dict by name for several.

    Args:
        path_or_text: a `.op` or `.json` file, the text of a program, or a graph.
        model: which model, where the program has several.
        params: values of the model's parameters.

    Raises:
        OpError: everything that is wrong with the program; OP0630, its weights do not fit into the
            free memory, which is known before any of them is made.

    >>> import opdsl, torch
    >>> opdsl.compile(PROGRAM)(torch.zeros(2, 1, 16)).shape
    torch.Size([2, 1, 16])
    """
    graph = path_or_text if isinstance(path_or_text, Graph) else load(path_or_text, model, **params)
    from opdsl.summary.memory_check import refuse_too_large, weight_bytes

    refuse_too_large(graph.name, {"weights": weight_bytes(graph)})
    from opdsl.lower.module import lower

    return lower(graph)


def train_settings(checked: CheckResult) -> tuple[Setting, ...]:
    """Return the settings of the model's train block; empty if it has none."""
    block = train_block(checked.file, checked.sound().name)
    return settings(block) if block else ()


def with_places(params: Mapping[str, object]) -> dict[str, Argument]:
    """Give parameters from Python a text that diagnostics can point into."""
    values = {}
    for key, value in params.items():
        source = Source("<parameters>", f"{key}={value}")
        span = source.span(len(key) + 1, len(source.text))
        values[key] = Argument(_value(value), span, source.span(0, len(key)))
    return values


def _value(value: object) -> Value:
    if isinstance(value, str):
        return Word(value)
    if isinstance(value, list | tuple):
        return tuple(_value(x) for x in value)
    if isinstance(value, bool | int | float):
        return value
    raise fault(
        "OP0208",
        f"a parameter cannot be a {type(value).__name__}",
        file="<parameters>",
        helps=("give a number, a word, true or false, or a tuple of these",),
    )


def _in_order(diagnostics: Sequence[Diagnostic], source: Source) -> tuple[Diagnostic, ...]:
    """Sort errors before warnings, each by their place; those of other files last."""

    def key(x: Diagnostic) -> tuple[bool, bool, int]:
        span = x.labels[0].span if x.labels else None
        here = span is not None and span.source == source
        return x.severity != "error", not here, span.start if span else 0

    return tuple(sorted(diagnostics, key=key))


def _folder(path: Path) -> OpError:
    """Make the OP0202 for a folder, which is no program; a run is opened otherwise."""
    if (path / "settings.yaml").exists() and (path / "resolved.op").exists():
        message = "this is the folder of a trained run, and not a program"
        helps = [f'`opdsl.open_run("{path}")` opens it with its weights']
    else:
        message, helps = "this is a folder, and not a program", []
    names = sorted(x.name for x in path.glob(f"*{SUFFIX}"))[:1]
    helps += [f"a program in it is `{path / x}`" for x in names]
    return fault("OP0202", message, helps=tuple(helps), file=str(path))


def _unreadable(path: Path, error: Exception) -> OpError:
    what = error.strerror if isinstance(error, OSError) else None
    near = sorted(x.name for x in path.parent.glob(f"*{SUFFIX}")) if path.parent.is_dir() else []
    return fault(
        "OP0202",
        f"cannot read the program: {(what or 'it is not a UTF-8 text').lower()}",
        file=str(path),
        helps=did_you_mean(path.name, near),
    )
