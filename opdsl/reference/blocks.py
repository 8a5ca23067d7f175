"""Reference pages of the blocks: text from the docstring, facts from the class and its samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from opdsl import blocks
from opdsl.compiler import load
from opdsl.ir.block import Block
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import KINDS, Space
from opdsl.reference.docstrings import Docstring, parse_docstring
from opdsl.reference.layout import (
    described,
    fence,
    indented,
    markdown_table,
    page,
    plain,
    wrapped,
)
from opdsl.reference.sample_calls import SampleCall, sample_calls
from opdsl.reference.value_types import default_text, type_text

SAMPLE_HEADER = ("call", "input", "result", "points needed", "weights", "converges")
DOMAINS_OF_SAMPLES = (
    "`D` is a periodic square with axes x and y; `E`, `L` and `G` are extensions of it; `P` and "
    "`Q` are points in the plane, `S` is a sphere, and `spectrum(D, 2)` holds the Fourier modes "
    "|k| <= 2 of `D`. Points needed are those of the first axis that has a bound."
)


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """A parameter of a block."""

    name: str
    type: str
    default: str
    meaning: str

    @property
    def about(self) -> str:
        """The type and the default for a terminal: `integer ≥ 1; default none`."""
        default = self.default if self.default == "required" else f"default {self.default}"
        return f"{self.type}; {default}".replace("`", "")


@dataclass(frozen=True)
class BlockEntry:
    """What the reference says about one block."""

    keyword: str
    cls: type[Block]

    @cached_property
    def docstring(self) -> Docstring:
        """The docstring of the class."""
        return parse_docstring(self.cls.__doc__)

    @property
    def family(self) -> str:
        """The folder below `opdsl/blocks`; `plug-in` for a block of another package."""
        return blocks.family(self.keyword) if self.keyword in blocks.names() else "plug-in"

    @property
    def program(self) -> str | None:
        """The example program."""
        return next(iter(self.docstring.programs), None)

    @cached_property
    def graph(self) -> Graph | None:
        """The graph of the example program."""
        return load(self.program) if self.program else None

    @property
    def parameters(self) -> tuple[ParameterRow, ...]:
        """The parameters in the order of the class."""
        schema = self.cls.model_json_schema()
        definitions, required = schema.get("$defs", {}), schema.get("required", ())
        descriptions = self.docstring.items.get("Attributes", {})
        return tuple(
            ParameterRow(
                name,
                type_text(x, definitions),
                default_text(x, required=name in required),
                descriptions.get(name) or x.get("description", ""),
            )
            for name, x in schema.get("properties", {}).items()
        )

    @property
    def signature(self) -> tuple[str, ...]:
        """Sentences about the inputs that the block accepts."""
        kinds = [KINDS[x] for x in sorted(self.cls.kinds)]
        numbers = "real or complex" if self.cls.complex else "real"
        positional = ", ".join(f"`{x}`" for x in self.cls.positional)
        return (
            f"{_inputs(*self.cls.arity)}, {numbers}, on {' or '.join(kinds) or 'any domain'}.",
            *(
                (f"{positional} may be given without a name, after the inputs.",)
                if positional
                else ()
            ),
            *(
                ("The Fourier transform assumes that every axis is periodic.",)
                if self.cls.assumes_periodic
                else ()
            ),
        )

    @cached_property
    def calls(self) -> tuple[SampleCall, ...]:
        """The samples as calls."""
        return sample_calls(self.cls)

    def used(self) -> tuple[tuple[tuple[Space, ...], Space], ...]:
        """Return input spaces and result of each node of this block in the example program."""
        graph = self.graph
        nodes = [x for x in graph.nodes if isinstance(x.block, self.cls)] if graph else []
        return tuple((graph.arguments(x), x.space) for x in nodes) if graph else ()


def block_entry(keyword: str) -> BlockEntry | None:
    """Return the entry of a block, also of an installed plug-in; None if there is no such block."""
    cls = blocks.find(keyword)
    return BlockEntry(keyword, cls) if cls else None


def block_entries() -> tuple[BlockEntry, ...]:
    """Return the entries of all blocks of opdsl, sorted by name."""
    return tuple(x for x in map(block_entry, blocks.names()) if x is not None)


def block_page(entry: BlockEntry) -> str:
    """Build the Markdown page of a block."""
    doc, program = entry.docstring, entry.program
    return page(
        f"# {entry.keyword}",
        doc.summary,
        doc.prose,
        f"## Example\n\n{fence('op', program)}" if program else "",
        f"![graph of the example]({entry.keyword}.svg)" if program else "",
        "## Parameters",
        _parameter_table(entry),
        "## Spaces and shapes",
        "\n".join(f"- {x}" for x in (*entry.signature, *_shapes(entry))),
        "## Example calls",
        markdown_table(SAMPLE_HEADER, [_sample_row(entry.keyword, x) for x in entry.calls]),
        DOMAINS_OF_SAMPLES,
        "## Source",
        doc.source,
        f"Code: `{entry.cls.__module__}`. [All blocks](index.md).",
    )


def block_text(entry: BlockEntry) -> str:
    """Describe a block for a terminal."""
    doc, program = entry.docstring, entry.program
    parameters = [(x.name, x.about, x.meaning) for x in entry.parameters]
    return page(
        f"{entry.keyword} ({entry.family})",
        wrapped(doc.summary),
        plain(doc.prose),
        f"Example:\n\n{indented(program)}" if program else "",
        f"Parameters:\n{described(parameters)}" if parameters else "It has no parameters.",
        "Spaces:\n"
        + "\n".join(wrapped(x, indentation=2) for x in (*entry.signature, *_shapes(entry))),
        f"Converges under refinement: {_verdict(entry)}.",
        wrapped(f"Source: {doc.source}"),
    )


def block_index(entries: tuple[BlockEntry, ...]) -> str:
    """Build the index of the blocks by family."""
    families = sorted({x.family for x in entries})
    parts = []
    for family in families:
        rows = [
            (f"[{x.keyword}]({x.keyword}.md)", x.docstring.summary, _verdict(x))
            for x in entries
            if x.family == family
        ]
        parts += [f"## {family}", markdown_table(("block", "what it computes", "converges"), rows)]
    return page(
        "# Blocks",
        f"The {len(entries)} operators of the language, one page each, generated from the class of "
        "the block. Blocks written in the language itself, such as `FourierLayer`, are in "
        "[library](../../../library).",
        *parts,
    )


def _parameter_table(entry: BlockEntry) -> str:
    rows = [(f"`{x.name}`", x.type, x.default, x.meaning) for x in entry.parameters]
    if not rows:
        return "None."
    return markdown_table(("parameter", "type", "default", "meaning"), rows)


def _inputs(least: int, most: int | None) -> str:
    if most is None:
        return f"{least} or more functions"
    count = str(least) if least == most else f"{least} to {most}"
    return f"{count} function{'' if count == '1' else 's'}" if most else "No input function"


def _shapes(entry: BlockEntry) -> tuple[str, ...]:
    """Tabulate the spaces and tensor shapes of the calls in the example program."""
    return tuple(
        f"In the example {_joined(inputs)} → `{result}`, as tensors "
        f"{' and '.join(map(_shape, inputs)) or 'nothing'} → {_shape(result)}."
        for inputs, result in dict.fromkeys(entry.used())
    )


def _joined(inputs: tuple[Space, ...]) -> str:
    return " and ".join(f"`{x}`" for x in inputs) or "no function"


def _shape(space: Space) -> str:
    """Return the shape that a function has as a tensor of the public interface."""
    axes = "".join(f", {x.name}" for x in space.domain.axes)
    kind = " complex" if space.complex else ""
    return f"(batch, {space.channels}{axes}){kind}"


def _sample_row(keyword: str, call: SampleCall) -> tuple[str, ...]:
    arguments = [*"uvwabc"[: len(call.inputs)], *(f"{k} = {v}" for k, v in call.parameters.items())]
    bounds = call.block.bounds(*call.inputs)
    points_needed = f"{bounds[0].points} for {bounds[0].keeps}" if bounds else "none"
    inputs = ", ".join(f"`{x}`" for x in call.inputs) or "none"
    text = f"`{keyword}({', '.join(arguments)})`"
    return (text, inputs, f"`{call.result}`", points_needed, f"{call.weights:,}", call.limit)


def _verdict(entry: BlockEntry) -> str:
    limits = list(dict.fromkeys(x.limit for x in entry.calls))
    reasons = [x.removeprefix("no: ") for x in limits if x != "yes"]
    if not reasons:
        return "yes"
    return f"{'depends on parameters: ' if 'yes' in limits else 'no: '}{'; '.join(reasons)}"
