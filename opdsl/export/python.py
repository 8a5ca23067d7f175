"""A graph as Python source that needs torch and nothing of this package.

The file contains the numerics that the model uses, cut out of `opdsl.nn`, and one class whose
`forward` has a line for each node. Its weights have the names of ours, so `load_state_dict` takes
them. Kernels are the default ones; there are no checks of inputs.

Every name in the text is made of identifiers, every value is written by `repr`, and other text of
the program is in comments, without control characters.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from opdsl.diagnostics import OpError, fault
from opdsl.export.sources import SourceCollection
from opdsl.ir.block import Block
from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.live import constants, live
from opdsl.ir.origins import Origin, origins
from opdsl.ir.spaces import Domain, Space
from opdsl.ir.steps import Coarsen, Extend
from opdsl.sampling import ring
from opdsl.version import VERSION

if TYPE_CHECKING:
    from torch import nn

    from opdsl.sampling import GridSampling

LITERALS = (bool, int, float, str, type(None))
FINER = '''
def finer(grow, n):
    """The smallest size that `grow` maps to `n` or more."""
    size = 1
    while grow(size) < n:
        size += 1
    return size
'''


def emit_python(graph: Graph) -> str:
    """Write the source of a module of the graph.

    Raises:
        OpError: OP0107, its calls need coordinates or fields, or it has a product of domains.
    """
    from opdsl.nn.module_tree import Branch, place

    _refuse_what_has_no_source(graph)
    own = (x for x in live(graph) if x.shares is None)
    constructed = {node.path: _constructed(graph, node) for node in own}
    sources = SourceCollection({"finer"})
    sources.add_external("torch")
    sources.add_external("torch", "nn")
    for definition in (Branch, place, *(y for x in constructed.values() for y in x.definitions)):
        if _is_ours(definition):
            sources.add(definition)
    calls = {path: x.text(sources) for path, x in constructed.items()}
    body = _Body(graph, {"self", "finer", "tuple"})
    parts = [_heading(graph), "\n".join(sources.imports()), *sources.texts()]
    if body.searches:
        parts.append(FINER.strip())
    model = _class(graph, calls, body, sources, (sources.name(Branch), sources.name(place)))
    return "\n\n\n".join([*parts, model]) + "\n"


def _refuse_what_has_no_source(graph: Graph) -> None:
    side_inputs = graph.side_inputs()
    products = [x for x in graph.spaces.values() if x.domain.kind == "product"]
    if not side_inputs and not products:
        return
    obstacle = (
        f"its calls take {side_inputs[0].what} `{side_inputs[0].name}`"
        if side_inputs
        else f"`{products[0].domain}` is a product of domains"
    )
    raise _no_source(graph, obstacle)


def _no_source(graph: Graph, why: str) -> OpError:
    return fault(
        "OP0107",
        f"`{graph.name}` cannot be written as Python source: {why}",
        helps=("compile it into a folder: `opdsl compile FILE -o DIR`",),
        file=graph.name,
    )


def _heading(graph: Graph) -> str:
    first = f"{graph.name}, a neural operator; written by opdsl {VERSION}, needs torch only."
    return f"# {_plain(first)}\n\nfrom __future__ import annotations"


def _class(
    graph: Graph,
    calls: Mapping[str, str],
    body: _Body,
    sources: SourceCollection,
    tree: tuple[str, str],
) -> str:
    """Write the class of the model; `tree` holds the emitted names of `Branch` and `place`."""
    branch, place = tree
    name = _fresh(_identifier(graph.name), set(sources.names.values()))
    doc = f"    {_plain(graph.doc)!r}\n\n" if graph.doc else ""
    nodes = "\n".join(f"            {path!r}: {call}," for path, call in calls.items())
    return f"""class {name}({branch}):
{doc}    def __init__(self):
        super().__init__()
        # a plain dict: the weights are registered by `{place}`, under the paths
        self.nodes = {{
{nodes}
        }}
        for path, module in self.nodes.items():
            {place}(self, path, module)

    def forward(self, {", ".join(body.inputs)}):
        {_signature(graph, body.inputs)!r}
{body.text}"""


def _signature(graph: Graph, names: list[str]) -> str:
    """Write inputs and outputs with the arguments' names: `a (batch, 1, x) -> u (batch, 1, x)`."""
    inputs = (_shape(name, x) for name, x in zip(names, graph.inputs, strict=True))
    return f"{', '.join(inputs)} -> {', '.join(_shape(x.name, x) for x in graph.outputs)}"


def _shape(name: str, port: Port) -> str:
    space = port.space
    axes = (x.name for x in space.domain.axes)
    return f"{name}: {space} ({', '.join(('batch', str(space.channels), *axes))})"


# --- one node ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Constructed:
    """A module's class and the arguments of its constructor."""

    kind: type[nn.Module]
    args: tuple[Any, ...]
    named: dict[str, Any]

    @property
    def definitions(self) -> tuple[Callable[..., nn.Module], ...]:
        """Class of the module, and the constructors of layers among its arguments."""
        arguments = (*self.args, *self.named.values())
        return (self.kind, *(x for x in arguments if _is_constructor(x)))

    def text(self, sources: SourceCollection) -> str:
        """Write the call that makes the module: `SpectralConv(3, 64, (16, 16), bias=True)`."""
        texts = [_expression(x, sources) for x in self.args]
        texts += [f"{k}={_expression(x, sources)}" for k, x in self.named.items()]
        return f"{_expression(self.kind, sources)}({', '.join(texts)})"


def _is_constructor(value: object) -> TypeGuard[type[nn.Module] | FunctionType]:
    """Return whether a value is a class or a function that makes a layer."""
    return isinstance(value, type | FunctionType)


def _is_ours(thing: object) -> bool:
    """Return whether a definition stands in this package; else it is one of torch's."""
    return thing.__module__.partition(".")[0] != "torch"


def _constructed(graph: Graph, node: Node) -> _Constructed:
    """Return the construction of a node's module, whose arguments `repr` can write."""
    result = _recorded(node.block, graph.arguments(node))
    if not all(_is_expressible(x) for x in (*result.args, *result.named.values())):
        raise _no_source(graph, f"`{node.block.keyword()}` looks for points near each other")
    return result


def _recorded(block: Block, spaces: tuple[Space, ...]) -> _Constructed:
    """Record the class of a block's module and the arguments of its constructor.

    The block is lowered twice: once to learn the class, once with a constructor that records them.
    """
    import torch

    with torch.device("meta"):  # no memory, and no random numbers
        kind = type(block.lower(*spaces))
        constructor, own = kind.__init__, "__init__" in vars(kind)
        constructed: dict[int, _Constructed] = {}

        def record(module: nn.Module, *args: Any, **named: Any) -> None:
            constructed[id(module)] = _Constructed(kind, args, named)
            constructor(module, *args, **named)

        setattr(kind, "__init__", record)  # noqa: B010  a type checker forbids the assignment
        try:
            return constructed[id(block.lower(*spaces))]
        finally:
            setattr(kind, "__init__", constructor) if own else delattr(kind, "__init__")


def _expression(value: object, sources: SourceCollection) -> str:
    if _is_constructor(value):
        return sources.name(value) if _is_ours(value) else f"nn.{value.__name__}"
    return repr(type(value)(value)) if isinstance(value, tuple | list) else repr(value)


def _is_expressible(value: object) -> bool:
    """Return whether a value is the constructor of a layer, or one that `repr` writes."""
    if _is_constructor(value):
        return True
    if type(value) in (tuple, list):
        return all(map(_is_expressible, cast("Iterable[object]", value)))
    return type(value) in LITERALS


# --- the forward pass -------------------------------------------------------------------------


@dataclass(slots=True)
class _Body:
    """Lines of `forward`, and the names in it."""

    graph: Graph
    used: set[str]
    inputs: list[str] = field(init=False)
    names: dict[str, str] = field(init=False)
    sizes: dict[Domain, str] = field(init=False)
    lines: list[str] = field(init=False)
    batch: str = field(init=False)
    searches: bool = False

    def __post_init__(self) -> None:
        self.names, self.sizes, self.lines = {}, {}, []
        self.inputs = [self._name(x.name, x.name) for x in self.graph.inputs]
        self.batch = _fresh("batch", self.used)
        self.used.add(self.batch)
        if any(x.source in constants(self.graph) for x in self.graph.outputs):
            self.lines.append(f"{self.batch} = {self.inputs[0]}.shape[0]")
        for domain in self._sized():
            self._size(domain)
        for name in self.inputs:
            self.lines.append(
                f"{name} = {name}.movedim(1, -1).contiguous()  # channels last from here on"
            )
        for node in live(self.graph):
            self._node(node)
        self.lines.extend(self._results())

    @property
    def text(self) -> str:
        return "\n".join(f"        {x}" for x in self.lines)

    def _name(self, wanted: str, key: str) -> str:
        self.names[key] = _fresh(_identifier(wanted), self.used)
        self.used.add(self.names[key])
        return self.names[key]

    def _sized(self) -> list[Domain]:
        domains = [x.space.domain for x in live(self.graph) if x.block.sized]
        return list(dict.fromkeys([y for x in domains for y in (x.root, x)]))

    def _size(self, domain: Domain) -> None:
        origin = origins(self.graph)[domain.name]
        name = _fresh(_identifier(f"size_{domain.label}"), self.used)
        self.used.add(name)
        self.sizes[domain] = name
        self.lines.append(f"{name} = {self._grid(domain, origin)}")

    def _grid(self, domain: Domain, origin: Origin) -> str:
        if domain.steps:
            return _each_axis(domain, self.sizes[domain.root])
        if origin.port is None:
            return repr(origin.root(()))
        shape = f"{self.inputs[origin.port]}.shape[2:]"
        if not origin.domain.steps:
            return f"tuple({shape})"
        self.searches = True
        rules = _rules(origin.domain, "k")
        return f"tuple(finer(rule, n) for rule, n in zip({rules}, {shape}, strict=True))"

    def _node(self, node: Node) -> None:
        arguments = [self.names[x] for x in node.inputs]
        if not node.inputs:
            arguments.append(f"like={self.inputs[0]}")
        if node.block.sized:
            arguments.append(f"size={self.sizes[node.space.domain]}")
        if node.block.kernels:
            arguments.append(f"kernel={node.block.kernels[0]!r}")
        name = self._name(node.path, node.path)
        self.lines.append(_plain(f"# {node.keyword}: {node.space}, {node.spans[0].place()}"))
        owner = node.shares or node.path
        self.lines.append(f"{name} = self.nodes[{owner!r}]({', '.join(arguments)})")

    def _results(self) -> list[str]:
        result = {x.name: self._result(x) for x in self.graph.outputs}
        if len(result) == 1:
            return [f"return {result.popitem()[1]}"]
        return ["return {", *(f"    {name!r}: {x}," for name, x in result.items()), "}"]

    def _result(self, port: Port) -> str:
        constant = port.source in constants(self.graph)
        kept_axes = ", -1" * (port.space.domain.dims + 1)
        expansion = f".expand({self.batch}{kept_axes})" if constant else ""
        return f"{self.names[port.source]}{expansion}.movedim(-1, 1).contiguous()"


def _each_axis(domain: Domain, root: str) -> str:
    """Write the grid of a domain from that of the declared one; shorter if all axes are equal."""
    expressions = {_points_expression("n", domain, i) for i in range(domain.dims)}
    if len(expressions) == 1:
        return f"tuple({expressions.pop()} for n in {root})"
    return f"tuple(rule(n) for rule, n in zip({_rules(domain, 'n')}, {root}, strict=True))"


def _rules(domain: Domain, n: str) -> str:
    """Write for each axis a function from points of the declared domain to points of this one."""
    rules = [f"lambda {n}: {_points_expression(n, domain, i)}" for i in range(domain.dims)]
    return f"[{', '.join(rules)}]"


def _points_expression(n: str, domain: Domain, axis: int) -> str:
    """Write the points on an axis of a domain as an expression in those of the declared one."""
    sampling = domain.axes[axis].points
    for step in domain.steps:
        n = n if n.isidentifier() else f"({n})"
        if isinstance(step, Coarsen):
            n = f"{n} // {step.factor}"
        else:
            n, sampling = _extended_expression(n, step, axis, sampling), ring(sampling)
    return n


def _extended_expression(n: str, step: Extend, axis: int, sampling: GridSampling) -> str:
    spacings = {"both": f"({n} - 1)", "interior": f"({n} + 1)"}.get(sampling, n)
    longer = f"{spacings} - (-{spacings} * {step.numerator_on(axis)} // {step.denominator})"
    if step.rounding == "nearest":
        longer = f"{spacings} + {step.ends} * round({step.share(axis)!r} * {spacings})"
    return longer if spacings == n else f"max({n}, {longer})"


# --- names and texts --------------------------------------------------------------------------


def _identifier(text: str) -> str:
    """Write a path or label as one name: `u.repeat.0` is `u_repeat_0`."""
    name = "".join(x if x.isascii() and (x.isalnum() or x == "_") else "_" for x in text)
    return name if name[:1].isalpha() or name[:1] == "_" else f"_{name}"


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken or keyword.iskeyword(name):
        name += "_"
    return name


def _plain(text: str) -> str:
    """Write a text as one line that cannot end a comment."""
    return "".join(x if x.isprintable() else " " for x in text)
