"""Reading of graph files, with all checks that hold for a graph made from a program.

Names refer to something that comes before, blocks accept their inputs, and every space is the one
that is inferred. Nothing in the file is executed or imported.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from opdsl import blocks
from opdsl.diagnostics import Label, OpError, Source, Span, did_you_mean, fault
from opdsl.export.declarable import can_be_declared
from opdsl.export.document import FORMAT, NAME, Document, FeedbackEntry, NodeEntry, PortEntry
from opdsl.ir.block import Block, Refusal
from opdsl.ir.dims import Dim, decided
from opdsl.ir.ends import PortEnds
from opdsl.ir.graph import Feedback, Graph, Node, Port, Scope
from opdsl.ir.spaces import Domain, Space

LIMIT = 20_000  # nodes, as in a program
DIGITS = 15  # of a whole number; all such numbers are floats too


def from_json(data: Mapping[str, Any]) -> Graph:
    """Read a graph from its JSON.

    Raises:
        OpError: OP0501, it is not the JSON of a graph; or the code of an error of its spaces.
    """
    return read_graph(Source("<graph>", json.dumps(data, indent=1)))


def read_graph(source: Source) -> Graph:
    """Read a graph from text; its spans lie in that text.

    Raises:
        OpError: OP0501, it is not the JSON of a graph; or the code of an error of its spaces.
    """
    return _Reader(source).graph()


class _Reader:
    """Reader of one text.

    Attributes:
        known: the space of every input and node so far.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.spans = _spans(source)
        self.document = self._document()
        self.known: dict[str, Space] = {}
        self.nodes: dict[str, Node] = {}

    def graph(self) -> Graph:
        """Build the graph and check that all of its parts fit each other."""
        document = self.document
        self._declared()
        inputs = tuple(self._input(x) for x in document.inputs)
        for entry in document.nodes:
            self._node(entry)
        return Graph(
            name=document.model,
            doc=document.doc,
            edition=document.edition,
            params={k: _frozen(x) for k, x in document.params.items()},
            domains=document.domains,
            inputs=inputs,
            outputs=self._outputs(),
            nodes=tuple(self.nodes.values()),
            feedback=tuple(self._feedback(x) for x in document.feedback),
            scopes=tuple(
                Scope(**x.model_dump(exclude={"at"}), span=self._span(x.path))
                for x in document.scopes
            ),
            places={x.name: self._whole for x in document.domains},
        )

    # ------------------------------------------------------------------- the whole

    def _document(self) -> Document:
        try:
            document = Document.model_validate_json(self.source.text, strict=True)
        except ValidationError as error:
            raise self._misshapen(error) from error
        json.loads(self.source.text, parse_int=self._moderate)
        return document

    def _moderate(self, digits: str) -> int:
        """Parse a whole number, and refuse one that other readers of JSON cannot represent."""
        if len(digits) > DIGITS:
            raise self._wrong(f"the number {digits[:DIGITS]}... is too large")
        return int(digits)

    def _misshapen(self, error: ValidationError) -> OpError:
        first = error.errors(include_url=False)[0]
        location = first["loc"]
        if first["type"] == "json_invalid":
            return self._wrong(f"it is no JSON: {first['ctx']['error']}")
        if location == ("format",) and first["type"] == "literal_error":
            return self._wrong(
                f"its format is {first['input']!r}, known is {FORMAT}",
                helps=("write it again with `opdsl ir`",),
            )
        return self._wrong(
            f"`{_dotted(location)}`: {_pydantic_message(first)}",
            self._at(location),
            helps=_similar_keys(first),
        )

    def _declared(self) -> None:
        names: set[str] = set()
        for domain in self.document.domains:
            if domain.factors or domain.steps or domain.name in names:
                raise self._wrong(f"the domain `{domain.name}` is not one declaration")
            self._sound(domain, None)
            names.add(domain.name)

    # ----------------------------------------------------------------------- parts

    def _input(self, entry: PortEntry) -> Port:
        self._fresh(entry.name)
        self._sound_space(entry.space, entry.name)
        self.known[entry.name] = entry.space
        return self._port(entry, entry.name)

    def _outputs(self) -> tuple[Port, ...]:
        names: set[str] = set()
        for entry in self.document.outputs:
            if entry.name in names:
                raise self._wrong(f"two outputs are called `{entry.name}`")
            names.add(entry.name)
            space = self._space(entry.source, f"the output `{entry.name}`", entry.source)
            self._same(entry.space, space, f"the output `{entry.name}`", entry.source)
        return tuple(self._port(x, x.source) for x in self.document.outputs)

    def _port(self, entry: PortEntry, source: str) -> Port:
        domain = entry.space.domain
        if not _fits_axes(entry.ends, domain):
            raise self._wrong(f"the ends of `{entry.name}` are not those of `{domain}`", entry.name)
        port = Port(
            name=entry.name, space=entry.space, source=source, doc=entry.doc, ends=entry.ends
        )
        return port.model_copy(update={"span": self._span(entry.name)})

    def _feedback(self, entry: FeedbackEntry) -> Feedback:
        outputs = {x.name: x.space for x in self.document.outputs}
        inputs = {x.name: x.space for x in self.document.inputs}
        for name, ports in ((entry.output, outputs), (entry.input, inputs)):
            if name not in ports:
                raise self._wrong(f"feedback names `{name}`", helps=did_you_mean(name, ports))
        a, b = outputs[entry.output], inputs[entry.input]
        if (a.domain, a.field) != (b.domain, b.field) or decided(b.channels) % decided(a.channels):
            raise self._wrong(f"feedback joins `{a}` and `{b}`")
        return Feedback(output=entry.output, input=entry.input, span=self._whole)

    # ---------------------------------------------------------------------- a node

    def _node(self, entry: NodeEntry) -> None:
        self._fresh(entry.path)
        if len(self.nodes) >= LIMIT:
            raise self._wrong(f"it has more than {LIMIT:,} nodes")
        inputs = tuple(self._space(x, f"`{entry.path}`", entry.path) for x in entry.inputs)
        block = self._block(entry)
        self._takes(entry, block, inputs)
        self._same(entry.space, self._inferred(entry, block, inputs), "it", entry.path)
        if block.is_identity(*inputs):
            raise self._wrong("a node does nothing", entry.path, ("leave it out",))
        node = Node(
            path=entry.path,
            block=block,
            inputs=entry.inputs,
            space=entry.space,
            shares=self._owner(entry, block, inputs),
            spans=(self._span(entry.path),),
        )
        self.nodes[entry.path] = node
        self.known[entry.path] = entry.space

    def _block(self, entry: NodeEntry) -> Block:
        cls = blocks.find(entry.op)
        if cls is None:
            raise self._wrong(
                f"there is no block `{entry.op}`",
                entry.path,
                did_you_mean(entry.op, blocks.names()),
            )
        try:
            block = cls.model_validate_json(json.dumps(entry.params), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            location = _dotted(("params", *first["loc"]))
            raise self._wrong(f"`{location}`: {_pydantic_message(first)}", entry.path) from error
        for value in _parameter_values(block):
            if isinstance(value, Domain):
                self._sound(value, entry.path)
            elif isinstance(value, float) and not math.isfinite(value):
                raise self._wrong(f"a parameter is {value}", entry.path)
        return block

    def _takes(self, entry: NodeEntry, block: Block, inputs: tuple[Space, ...]) -> None:
        least, most = block.arity
        if len(inputs) < least or (most is not None and len(inputs) > most):
            raise self._wrong(f"`{entry.op}` does not take {len(inputs)} inputs", entry.path)
        for space in inputs:
            if space.complex and not block.complex:
                raise self._wrong(f"`{entry.op}` takes real functions, not `{space}`", entry.path)
            if block.kinds and not any(space.domain.satisfies(x) for x in block.kinds):
                raise self._wrong(f"`{entry.op}` is not defined on `{space.domain}`", entry.path)

    def _inferred(self, entry: NodeEntry, block: Block, inputs: tuple[Space, ...]) -> Space:
        try:
            return block.infer(*inputs)
        except Refusal as refusal:
            place = Label(self._span(entry.path), refusal.label)
            raise fault(
                refusal.code,
                refusal.message,
                place,
                notes=(f"it is the node `{entry.path}`", *refusal.notes),
                helps=refusal.helps,
            ) from refusal

    def _owner(self, entry: NodeEntry, block: Block, inputs: tuple[Space, ...]) -> str | None:
        """Return the node whose weights an entry uses, after a check that the two are alike."""
        if entry.shares is None:
            return None
        owner = self.nodes.get(entry.shares)
        if owner is None or owner.shares is not None:
            raise self._wrong(f"`{entry.shares}` has no weights to share", entry.path)
        spaces = tuple(self.known[x] for x in owner.inputs)
        if owner.block != block or [_without_names(x) for x in spaces] != [
            _without_names(x) for x in inputs
        ]:
            raise self._wrong(f"it cannot share the weights of `{entry.shares}`", entry.path)
        return entry.shares

    # ---------------------------------------------------------------- what must hold

    def _fresh(self, name: str) -> None:
        if name in self.known:
            raise self._wrong(f"two nodes or inputs are called `{name}`", name)

    def _space(self, source: str, who: str, at: str) -> Space:
        if source in self.known:
            return self.known[source]
        later = any(source == x.path for x in self.document.nodes)
        problem = "which comes later" if later else "which nobody makes"
        helps = () if later else did_you_mean(source, self.known)
        raise self._wrong(f"{who} takes `{source}`, {problem}", at, helps)

    def _same(self, said: Space, met: Space, who: str, at: str) -> None:
        self._sound_space(said, at)
        if _without_names(said) != _without_names(met):
            raise self._wrong(f"{who} is said to be `{said}`, but is `{met}`", at)

    def _sound_space(self, space: Space, at: str) -> None:
        self._sound(space.domain, at)
        names = space.components
        if space.channels < 1 or (names is not None and len(names) != space.channels):
            raise self._wrong(f"`{at}` has not as many names as channels", at)
        if names and not all(re.fullmatch(NAME, x) for x in names):
            raise self._wrong(f"`{at}` has a component without a name", at)

    def _sound(self, domain: Domain, at: str | None) -> None:
        if not can_be_declared(domain):
            raise self._wrong(f"there can be no such domain as `{domain.name}`", at)

    # ---------------------------------------------------------------------- places

    @property
    def _whole(self) -> Span:
        return self.source.span(0, 1)

    def _span(self, path: str) -> Span:
        return self.spans.get(path, self._whole)

    def _at(self, where: tuple[int | str, ...]) -> str | None:
        """Return the path of the node at `nodes, 3, ...`, as far as the text can be parsed."""
        try:
            data = json.loads(self.source.text)
            return str(data[where[0]][where[1]].get("path"))
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return None

    def _wrong(self, what: str, at: str | None = None, helps: tuple[str, ...] = ()) -> OpError:
        span = self._span(at) if at else self._whole
        place = f"`{at}`" if at and span != self._whole else "the file"
        # a file could contain control characters, which must not reach a terminal
        plain = "".join(x if x.isprintable() else "?" for x in what)
        label = Label(span, f"in {place}")
        return fault("OP0501", f"this graph cannot be read: {plain}", label, helps=helps)


def _without_names(space: Space) -> tuple[Domain, Dim, str]:
    """Return a space without the names of its components."""
    return space.domain, space.channels, space.field


def _parameter_values(model: BaseModel) -> Iterator[object]:
    """Yield the values of the parameters, elements of tuples one by one."""
    for value in (getattr(model, x) for x in type(model).model_fields):
        yield from value if isinstance(value, tuple) else (value,)


def _frozen(value: Any) -> object:
    return tuple(_frozen(x) for x in value) if isinstance(value, list) else value


# --- words and places -------------------------------------------------------------------------


def _spans(source: Source) -> dict[str, Span]:
    """Search for the place where each path or name of a port first occurs in the text."""
    result: dict[str, Span] = {}
    for x in re.finditer(r'"(?:path|name)"\s*:\s*"([^"\\]*)"', source.text):
        result.setdefault(x[1], source.span(x.start(1) - 1, x.end(1) + 1))
    return result


def _dotted(where: Iterable[int | str]) -> str:
    return ".".join(map(str, where)) or "the file"


def _pydantic_message(error: Mapping[str, Any]) -> str:
    """Return the message of pydantic as a part of a sentence."""
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{message[:1].lower()}{message[1:]}"


def _similar_keys(error: Mapping[str, Any]) -> tuple[str, ...]:
    key = str(error["loc"][-1]) if error["loc"] else ""
    keys = tuple(Document.model_fields)
    return did_you_mean(key, keys) if error["type"] == "extra_forbidden" else ()


def _fits_axes(ends: PortEnds | None, domain: Domain) -> bool:
    """Return whether ends are declared for the axes of a grid that have some, and only for them."""
    if ends is None:
        return True
    closed = [x is None for x in ends]
    return domain.regular and closed == list(domain.periodic) and not all(closed)
