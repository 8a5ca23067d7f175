"""A graph as a flat program: one primitive call for each node, no library, no repeat.

The text reads as a graph that is equal up to names: the path `u.repeat.0.k` is called
`u_repeat_0_k`, and a node that is an output has the output's name. Domains, inputs, outputs,
components and static fields keep their names.

Only a repeat can share weights, so a shared repeat stays one, of a block of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opdsl.diagnostics import Source
from opdsl.elaborate import elaborate
from opdsl.export.declared import DomainNames, unsayable
from opdsl.export.document import NAME
from opdsl.export.literals import doc, number, sequence
from opdsl.ir.block import Block
from opdsl.ir.ends import ends_text
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph, Node, Port, Scope
from opdsl.ir.spaces import Domain, Space
from opdsl.syntax.parser import parse
from opdsl.syntax.printer import format_text
from opdsl.syntax.unparse import quoted
from opdsl.syntax.words import KEYWORDS


def to_program(graph: Graph) -> str:
    """Write a program that means the graph.

    Raises:
        OpError: OP0107, no program can express the graph.
    """
    program = _Program(graph)
    text = format_text(program.text(), f"<{graph.name}>")
    if program.loops and not _reads_as(text, graph):
        raise unsayable("repeats with shared weights that do not do the same each time")
    return text


def _reads_as(text: str, graph: Graph) -> bool:
    """Return whether the program means the graph; a graph file can mislabel a shared repeat."""
    file, faults = parse(Source("<flat>", text))
    reread, problems = elaborate(file)
    return (
        not (faults or problems)
        and reread is not None
        and fingerprint(reread) == fingerprint(graph)
    )


class _Program:
    """Writer of one graph.

    Attributes:
        names: names of inputs and nodes, by path.
        blocks: the bodies of shared repeats.
        loops: the shared repeats, outer ones before inner ones.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        ports = {x.name for x in (*graph.inputs, *graph.outputs)}
        self.used = _UsedNames(_words(graph.nodes), {*ports, graph.name})
        self.domains = DomainNames(self.used.free)
        self.names = {x.name: x.name for x in graph.inputs}
        self.blocks: list[str] = []
        self.loops = [x for x in graph.scopes if x.kind == "repeat" and _is_tied(x)]

    def text(self) -> str:
        """Write the program, not yet formatted."""
        graph = self.graph
        declared = [y for x in self._domains() for y in self.domains.declare(x)]
        self._name()
        ports = [self._port("input", x) for x in graph.inputs]
        ports += [self._port("output", x) for x in graph.outputs]
        ports += [f"feedback {x.output} -> {x.input}" for x in graph.feedback]
        calls = [*self._statements(graph.nodes), *self._aliases()]
        head = f"model {graph.name}{doc(graph.doc)} {{"
        model = [head, *declared, *ports, "", *calls, "}"]
        return "\n".join([f"edition {graph.edition}", *self.blocks, *model])

    def _domains(self) -> Iterator[Domain]:
        """Yield the domains that the program writes: declared ones, of ports, of parameters."""
        yield from self.graph.domains
        yield from (x.space.domain for x in (*self.graph.inputs, *self.graph.outputs))
        for node in self.graph.nodes:
            yield from _parameter_domains(node)

    # -------------------------------------------------------------------- names

    def _name(self) -> None:
        for x in self.graph.outputs:
            self.names.setdefault(x.source, x.name)
        for node in self.graph.nodes:
            if node.path not in self.names:
                self.names[node.path] = self.used.free(node.path.replace(".", "_"))

    def _aliases(self) -> Iterator[str]:
        """Write statements for outputs that equal an input or another output."""
        for x in self.graph.outputs:
            if self.names[x.source] != x.name:
                yield f"{x.name} = {self.names[x.source]}"

    # --------------------------------------------------------------- statements

    def _port(self, word: str, port: Port) -> str:
        ends = "" if port.ends is None else f", ends = {ends_text(port.ends)}"
        return f"{word} {port.name} : {self._space(port.space)}{ends}{doc(port.doc)}"

    def _space(self, space: Space) -> str:
        names = space.components
        power = f"{{{', '.join(names)}}}" if names else str(space.channels)
        if space.domain.kind == "vector":
            return f"{space.field}^{power}"
        return f"{self.domains.expression(space.domain)} -> {space.field}^{power}"

    def _statements(self, nodes: Iterable[Node], above: str = "") -> list[str]:
        """Write a statement for each node, and for each shared repeat directly below `above`."""
        lines, written = [], set[str]()
        for node in nodes:
            loop = self._loop(node.path, above)
            if loop is None and node.shares and not above:
                raise unsayable(f"`{node.path}` shares weights outside of a repeat")
            if loop is None:
                lines.append(self._call(node))
            elif loop.path not in written:
                written.add(loop.path)
                lines.append(self._repeat(loop))
        return lines

    def _call(self, node: Node) -> str:
        """Write the call of a node: `name = block(inputs, parameters)`."""
        parameters = dict(self._parameters(node.block))
        shorthand = node.block.shorthand
        word = node.keyword if shorthand is None else parameters.pop(shorthand)
        # by position, since some of these names are reserved words
        first = [parameters.pop(x) for x in type(node.block).positional if x in parameters]
        args = [*(self.names[x] for x in node.inputs), *first]
        args += [f"{k} = {v}" for k, v in parameters.items()]
        return f"{self.names[node.path]} = {word}({', '.join(args)})"

    def _parameters(self, block: Block) -> Iterator[tuple[str, str]]:
        """Yield name and text of each parameter that differs from its default."""
        for name, info in type(block).model_fields.items():
            value = getattr(block, name)
            if info.is_required() or value != info.default:
                yield name, self._value(value)

    def _value(self, value: object) -> str:
        match value:
            case bool():
                return str(value).lower()
            case int() | float():
                return number(value)
            case str():
                return value if self.used.is_word(value) else quoted(value)
            case Domain():
                return self.domains.expression(value)
            case tuple():
                return sequence([self._value(x) for x in value])
        raise unsayable(f"a parameter that is a {type(value).__name__}")

    # ----------------------------------------------------------- shared repeats

    def _loop(self, path: str, above: str) -> Scope | None:
        """Find the outermost shared repeat below `above` that contains the node."""
        inside = (x for x in self.loops if path.startswith(f"{x.path}."))
        return next((x for x in inside if x.path.startswith(above)), None)

    def _repeat(self, loop: Scope) -> str:
        """Write a shared repeat: `name = enters |> repeat n shared { Step(...) }`."""
        body = _Body.of(self.graph, loop)
        step = self.used.free("Step")
        spaces = [self.graph.spaces[x] for x in (body.before, *body.others, body.after)]
        needed = [x.domain for x in spaces]
        needed += [y for x in body.nodes for y in _parameter_domains(x)]
        for x in needed:
            if any(self.domains.declare(x)):
                raise unsayable(f"a repeat with shared weights on `{x}`")
        roots, domains = self.domains.inside(needed)
        self.blocks.append(self._block(step, domains, body))
        others = [self.names[x] for x in body.others]
        args = [*(["_", *others] if others else []), *(f"{x} = {x}" for x in roots)]
        call = f"{step}({', '.join(args)})"
        enters, leaves = self.names[body.enters], self.names[body.leaves]
        return f"{leaves} = {enters} |> repeat {loop.count} shared {{ {call} }}"

    def _block(self, step: str, domains: list[str], body: _Body) -> str:
        """Write one iteration as a block, from the result of the one before to its own."""
        unnamed = {"components": None}
        enters = self.graph.spaces[body.before].model_copy(update=unnamed)
        leaves = self.graph.spaces[body.after].model_copy(update=unnamed)
        ins = [f"input {self.names[body.before]} : {self._space(enters)}"]
        ins += [f"input {self.names[x]} : {self._space(self.graph.spaces[x])}" for x in body.others]
        out = f"output {self.names[body.after]} : {self._space(leaves)}"
        calls = self._statements(body.nodes, body.prefix)
        return "\n".join([f"block {step} {{", *domains, *ins, out, "", *calls, "}"])


def _is_tied(scope: Scope) -> bool:
    return scope.shared and (scope.count or 0) > 1


def _parameter_domains(node: Node) -> Iterator[Domain]:
    values = (getattr(node.block, x) for x in type(node.block).model_fields)
    return (x for x in values if isinstance(x, Domain))


@dataclass(frozen=True, slots=True)
class _Body:
    """One iteration of a shared repeat: the second, in which every input has its own name.

    Attributes:
        prefix: common prefix of the paths of its nodes.
        before, after: the results of the first iteration and of this one.
        others: further values from outside.
        enters, leaves: the input of the first iteration, and the result of the last one.
    """

    nodes: tuple[Node, ...]
    prefix: str
    before: str
    after: str
    others: tuple[str, ...]
    enters: str
    leaves: str

    @staticmethod
    def of(graph: Graph, loop: Scope) -> _Body:
        """Extract the body of a shared repeat.

        Raises:
            OpError: OP0107, its iterations are not of the form that the elaborator makes.
        """
        first, second = f"{loop.path}.0.", f"{loop.path}.1."
        runs = [[x for x in graph.nodes if x.path.startswith(y)] for y in (first, second)]
        pairs = [
            (x, y)
            for a, b in zip(*runs, strict=False)
            for x, y in zip(a.inputs, b.inputs, strict=False)
        ]
        entering = {x for x, y in pairs if y.startswith(first)}
        results = {y for x, y in pairs if y.startswith(first)}
        others = {y: None for _, y in pairs if not y.startswith((first, second))}
        if len(entering) != 1 or len(results) != 1:
            raise unsayable(f"the repeat `{loop.path}`")
        name = results.pop().removeprefix(first)
        leaves = f"{loop.path}.{(loop.count or 0) - 1}.{name}"
        if not {leaves, f"{second}{name}"} <= graph.by_path.keys():
            raise unsayable(f"the repeat `{loop.path}`")
        values = (second, f"{first}{name}", f"{second}{name}", tuple(others))
        return _Body(tuple(runs[1]), *values, entering.pop(), leaves)


# --- names ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _UsedNames:
    """The names in use; `words` are parameter values and must not name anything."""

    words: set[str]
    used: set[str]

    def free(self, wanted: str) -> str:
        """Return an unused name: the wanted one, or with `_2`, `_3` appended."""
        name, count = wanted, 1
        while name in self.used or name in self.words or name in KEYWORDS:
            count += 1
            name = f"{wanted}_{count}"
        self.used.add(name)
        return name

    def is_word(self, text: str) -> bool:
        """Return whether the text can be written without quotes."""
        parts = text.split("..", 1)  # a word for each end of an axis
        return all(re.fullmatch(NAME, x) and x not in {*self.used, *KEYWORDS} for x in parts)


def _words(nodes: tuple[Node, ...]) -> set[str]:
    """Yield the words among the parameters: no name may be one of them."""
    values = (getattr(x.block, k) for x in nodes for k in type(x.block).model_fields)
    flat = (y for x in values for y in (x if isinstance(x, tuple) else (x,)))
    return {y for x in flat if isinstance(x, str) for y in (x, *x.split(".."))}
