"""The graph: what a program means. Nodes are blocks, every edge has a space.

It is frozen and in topological order. `spans` lead back to the text and stay out of JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from opdsl.diagnostics import Span
from opdsl.ir.block import Block, SideInput
from opdsl.ir.ends import PortEnds
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    import networkx as nx

MOST = 150  # characters of the one-line text of a graph

FROZEN = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Node(BaseModel):
    """One operation.

    Attributes:
        path: its place in the program, `u.repeat.0.fourier_layer.k`; the prefix of its weights.
        inputs: for each input the path of a node or the name of an input of the model.
        shares: the path of the node whose weights it uses, in a repeat with shared weights.
        spans: the calls that lead to it, the user's own call first, the block's own call last.
    """

    model_config = FROZEN

    path: str
    block: SerializeAsAny[Block]
    inputs: tuple[str, ...]
    space: Space
    shares: str | None = None
    spans: tuple[Span, ...] = Field(exclude=True, repr=False, min_length=1)

    @property
    def keyword(self) -> str:
        """The keyword of the block in the language."""
        return self.block.keyword()


class Port(BaseModel):
    """An input or output of the model.

    Attributes:
        source: the node or input that an output shows.
        ends: what the program declares about the function at the ends of each axis, a promise of
            an output; None for a periodic axis. None: nothing is declared.
    """

    model_config = FROZEN

    name: str
    space: Space
    source: str = ""
    doc: str | None = None
    span: Span | None = Field(default=None, exclude=True, repr=False)
    ends: PortEnds | None = None

    @model_serializer(mode="wrap")
    def _without_default(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `ends` where nothing is declared, as files of older versions do."""
        fields: dict[str, Any] = dump(self)
        if self.ends is None:
            fields.pop("ends", None)
        return fields


class Feedback(BaseModel):
    """Over time, the output `output` becomes the input `input` of the next step.

    An input with more channels is a window: it drops its first channels and gets the output as its
    last ones.
    """

    model_config = FROZEN

    output: str
    input: str
    span: Span | None = Field(default=None, exclude=True, repr=False)


class Scope(BaseModel):
    """A part of the program that holds nodes: all those whose path begins with `path.`.

    Attributes:
        kind: a binding, a block called, a repeat, one of its iterations, or a residual.
        title: what a drawing writes on it (`FourierLayer`, `repeat`, `residual`).
        count: how many iterations a repeat has.
        shared: whether all iterations use the same weights.
    """

    model_config = FROZEN

    path: str
    kind: Literal["binding", "block", "repeat", "iteration", "residual"]
    title: str
    count: int | None = None
    shared: bool = False
    doc: str | None = None
    span: Span | None = Field(default=None, exclude=True, repr=False)


class Graph(BaseModel):
    """A model, resolved: every name, parameter and space is known, no tensor exists.

    Attributes:
        params: the model's parameters and their values.
        domains: the declared domains, by name; `places` says where in the text.
        nodes: in topological order.
    """

    model_config = FROZEN

    name: str
    doc: str | None = None
    edition: int
    params: Mapping[str, object]
    domains: tuple[Domain, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    feedback: tuple[Feedback, ...] = ()
    scopes: tuple[Scope, ...] = ()
    places: Mapping[str, Span] = Field(default_factory=dict, exclude=True, repr=False)

    # set by `opdsl.compiler`: drawings are a layer above, which nothing here may import
    drawing: ClassVar[Callable[[Graph], str | None] | None] = None

    def __repr__(self) -> str:
        sides = (", ".join(x.name for x in ports) for ports in (self.inputs, self.outputs))
        text = f"{self.name}: {' -> '.join(sides)}, {len(self.nodes)} nodes"
        return f"<Graph {text if len(text) < MOST else f'{text[:MOST]}...'}>"

    __str__ = __repr__

    def _repr_svg_(self) -> str | None:
        """Draw the graph for a notebook; None where that cannot be done."""
        draw = type(self).drawing
        return None if draw is None else draw(self)

    @cached_property
    def by_path(self) -> dict[str, Node]:
        """Each node under its path."""
        return {x.path: x for x in self.nodes}

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """The space of every node and every input."""
        ports = {x.name: x.space for x in self.inputs}
        return ports | {x.path: x.space for x in self.nodes}

    def arguments(self, node: Node) -> tuple[Space, ...]:
        """The spaces of what the node takes."""
        return tuple(self.spaces[x] for x in node.inputs)

    def side_inputs(self) -> tuple[SideInput, ...]:
        """The inputs that blocks need besides functions, each once, in the order of the nodes."""
        result = (y for x in self.nodes for y in x.block.side_inputs(*self.arguments(x)))
        return tuple({x.name: x for x in result}.values())

    def sizes(self, roots: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        """Every atom of a size where the declared domains have these resolutions."""
        result: dict[str, int] = {}
        for domain in self._all_domains():
            if domain.modes is None:
                result |= {domain.atom(i): n for i, n in enumerate(domain.at(roots))}
        return result

    def _all_domains(self) -> Iterator[Domain]:
        yield from self.domains
        yield from (x.domain for x in self.spaces.values())

    def networkx(self) -> nx.DiGraph:
        """The graph as a networkx graph, inputs and nodes by path, for analyses of your own."""
        import networkx as nx

        graph = nx.DiGraph(name=self.name)
        for path, space in self.spaces.items():
            graph.add_node(path, space=str(space), block=self._keyword(path))
        graph.add_edges_from((x, node.path) for node in self.nodes for x in node.inputs)
        return graph

    def _keyword(self, path: str) -> str:
        return self.by_path[path].keyword if path in self.by_path else "input"
