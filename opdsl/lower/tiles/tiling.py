"""A model applied tile by tile: an equal function, in the memory of a tile.

It is exact: each tile is surrounded by a halo as wide as the receptive field of the model
(`ir.receptive_field`), spacings are those of the whole grid, and what has no input (coordinates,
static fields) is computed on the whole grid and cut. Where some block reads the whole grid no such
tile exists, and the model is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.ir.axes import Axis
from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.live import live
from opdsl.ir.origins import Grid
from opdsl.ir.receptive_field import one_grid, reach
from opdsl.ir.spaces import Domain, Space
from opdsl.lower.call_arguments import CallArgument, representative
from opdsl.lower.module import OperatorModule, lower
from opdsl.lower.tiles.windows import Window, cut_window, paste_window, windows
from opdsl.sampling import spacings

LEAVE_TILE_OUT = "leave `--tile` out; a smaller `--batch` takes less memory and changes nothing"

_PartKey = tuple[Grid, Grid, torch.dtype, torch.device]
NamedTensors = dict[str, Tensor]


class Tiled(nn.Module):
    """A model that runs on one tile after the other; called by name.

    It is for evaluation: tiles do not have the batch statistics that a `norm` uses in training.

    Attributes:
        module: the model.
        domain: the grid that is cut.
        tile: points of a tile on each axis; None: the whole axis.
    """

    def __init__(self, module: OperatorModule, tile: Mapping[str, int] | int) -> None:
        """Prepare the tiles of a model, which share its weights.

        Args:
            module: the model.
            tile: points of a tile, on the named axes, or on every axis.

        Raises:
            OpError: OP0652, there is no such axis, or functions are on several grids.
        """
        super().__init__()
        self.module = module
        self.domain = _grid_of(module.graph)
        self.tile = _tile_sides(module.graph, self.domain, tile)
        self.parts: dict[_PartKey, tuple[OperatorModule]] = {}  # a tuple hides them from `children`

    def forward(self, **named: Tensor) -> Tensor | NamedTensors:
        """Compute the outputs of a call of the model by name.

        Raises:
            OpError: OP0652, a block may read the whole grid; otherwise as the model.
        """
        guards, graph = self.module.guards, self.module.graph
        arguments = guards.bind((), named)
        guards.check(arguments, self._weight())
        inputs = {x.name: representative(y) for x, y in zip(graph.inputs, arguments, strict=False)}
        flat = {x.name for x in graph.inputs if x.space.domain != self.domain}
        first = next(x for name, x in inputs.items() if name not in flat)
        axis_windows = self._windows(tuple(first.shape[2:]))
        if all(len(x) == 1 for x in axis_windows):
            result: Tensor | NamedTensors = self.module(**named)
            return result
        fields = inputs | self._sources(first, arguments[len(graph.inputs) :])
        return self._pasted(first, fields, flat, axis_windows)

    def _windows(self, size: Grid) -> list[tuple[Window, ...]]:
        result = reach(self.module.graph, self.domain, size)
        tile = [n if x is None else x for x, n in zip(self.tile, size, strict=True)]
        if result.unbounded and any(x < n for x, n in zip(tile, size, strict=True)):
            raise _unbounded(self.module.graph, result.unbounded)
        axes = zip(size, tile, result.points, self.domain.periodic, strict=True)
        return [windows(n, x, r, periodic=closed) for n, x, r, closed in axes]

    def _sources(self, first: Tensor, asked: tuple[CallArgument, ...]) -> NamedTensors:
        """Compute nodes without inputs on the whole grid, (batch, channels, *grid) by path."""
        arguments = [self.module.guards.asked(i, x) for i, x in enumerate(asked)]
        like, size = first.real if first.is_complex() else first, tuple(first.shape[2:])
        result = {}
        for step in self.module.steps:
            if step.source and step.node.space.domain == self.domain:
                extra: dict[str, object] = {"like": like}
                extra |= {"size": size} if step.node.block.sized else {}
                extra |= (
                    {"asked": tuple(arguments[i] for i in step.side_inputs)}
                    if step.side_inputs
                    else {}
                )
                x = step.run((), {}, extra).movedim(-1, 1)
                result[step.node.path] = x.expand(len(first), *x.shape[1:])
        return result

    def _pasted(
        self, first: Tensor, fields: NamedTensors, flat: set[str], some: list[tuple[Window, ...]]
    ) -> Tensor | NamedTensors:
        """Run all tiles and paste their outputs."""
        part = self._part(first, tuple(x[0].width for x in some))
        ports = {x.name: x.space for x in self.module.graph.outputs}
        whole: NamedTensors = {}
        for window in itertools.product(*some):
            result = part(
                **{k: x if k in flat else cut_window(x, window) for k, x in fields.items()}
            )
            outputs = result if isinstance(result, dict) else {next(iter(ports)): result}
            for name, x in outputs.items():
                if ports[name].domain != self.domain:
                    whole[name] = x
                    continue
                if name not in whole:
                    whole[name] = x.new_empty(*x.shape[:2], *first.shape[2:])
                paste_window(whole[name], x, window)
        return whole if len(whole) > 1 else whole.popitem()[1]

    def _part(self, first: Tensor, width: Grid) -> OperatorModule:
        """Return the model on a window of `width` points: a tile and its halo."""
        size, weight = tuple(first.shape[2:]), self._weight()
        like = first if weight is None else weight
        key = size, width, like.dtype, like.device
        if key not in self.parts:
            with torch.random.fork_rng(devices=()):  # the fresh weights are thrown away
                part = lower(tile_graph(self.module.graph, self.domain, size, width))
            part.to(like.device, like.dtype).eval()
            weights = self.module.state_dict()
            part.load_state_dict({k: weights[k] for k in part.state_dict()}, assign=True)
            self.parts = {key: (part,)}  # only the latest resolution is cached
        return self.parts[key][0]

    def _weight(self) -> Tensor | None:
        return next((x for x in self.module.parameters() if x.is_floating_point()), None)


def tile_graph(graph: Graph, domain: Domain, size: Grid, width: Grid) -> Graph:
    """Move a graph to a window of its grid; results of its sources become further inputs.

    Args:
        graph: the model.
        domain: its grid.
        size: points of the whole grid.
        width: points of the window.
    """
    shorter = _with_axes(domain, tuple(map(_shortened, domain.axes, size, width)))
    sources = [x for x in live(graph) if not x.inputs and x.space.domain == domain]
    excluded = {x.path for x in sources}
    ports = [Port(name=x.path, space=_moved_space(x.space, domain, shorter)) for x in sources]
    inputs = [
        x.model_copy(update={"space": _moved_space(x.space, domain, shorter)}) for x in graph.inputs
    ]
    outs = [
        x.model_copy(update={"space": _moved_space(x.space, domain, shorter)})
        for x in graph.outputs
    ]
    nodes = (_node_on(x, domain, shorter) for x in live(graph) if x.path not in excluded)
    return Graph(
        name=graph.name,
        edition=graph.edition,
        params=graph.params,
        domains=tuple(shorter if x == domain else x for x in graph.domains),
        inputs=(*inputs, *ports),
        outputs=tuple(outs),
        nodes=tuple(nodes),
    )


def _shortened(axis: Axis, n: int, width: int) -> Axis:
    """Shorten an axis to `width` points that keep the spacing of `n` points on the whole axis."""
    sampling = axis.points
    length = (axis.hi - axis.lo) * spacings(sampling, width) / spacings(sampling, n)
    return Axis(
        name=axis.name,
        lo=axis.lo,
        hi=axis.lo + length,
        boundary=axis.boundary,
        sampling=axis.sampling,
    )


def _with_axes(domain: Domain, axes: tuple[Axis, ...]) -> Domain:
    if not domain.factors:
        return domain.model_copy(update={"axes": axes})
    parts, first = [], 0
    for x in domain.factors:
        parts.append(_with_axes(x, axes[first : first + x.dims]))
        first += x.dims
    return Domain.product(tuple(parts))


def _moved_space(space: Space, domain: Domain, other: Domain) -> Space:
    return space.model_copy(update={"domain": other}) if space.domain == domain else space


def _node_on(node: Node, domain: Domain, other: Domain) -> Node:
    """Move a node, and a grid that its block names, to another domain."""
    named = {k: other for k, x in node.block if x == domain}
    block = node.block.model_copy(update=named) if named else node.block
    return node.model_copy(
        update={"block": block, "space": _moved_space(node.space, domain, other)}
    )


# --- refusals ----------------------------------------------------------------------------------


def _grid_of(graph: Graph) -> Domain:
    domain = one_grid(graph)
    if domain is not None and any(x.space.domain == domain for x in graph.inputs):
        return domain
    names = ", ".join(f"`{x}`" for x in dict.fromkeys(_homes(graph)))
    note = f"its functions live on {names or 'no domain'}"
    crossing = (x for x in live(graph) if len(set(map(str, _domains_at(graph, x)))) > 1)
    node = next(crossing, None)
    reason = "tiles are cut from one grid on which inputs live"
    if node is not None:
        route = " to ".join(f"`{x}`" for x in dict.fromkeys(map(str, _domains_at(graph, node))))
        reason = f"`{node.keyword}` (`{node.path}`) goes from {route}, and {reason}"
    raise _not_tileable(graph, reason, (note,), (LEAVE_TILE_OUT,))


def _homes(graph: Graph) -> list[Domain]:
    spaces = (*(x.space for x in graph.inputs), *(x.space for x in live(graph)))
    return [x.domain for x in spaces if x.domain.kind != "vector"]


def _domains_at(graph: Graph, node: Node) -> list[Domain]:
    """List the domains of the inputs and the result of a node, without vectors."""
    spaces = (*graph.arguments(node), node.space)
    return [x.domain for x in spaces if x.domain.kind != "vector"]


def _tile_sides(
    graph: Graph, domain: Domain, tile: Mapping[str, int] | int
) -> tuple[int | None, ...]:
    names = [x.name for x in domain.axes]
    sides = dict.fromkeys(names, tile) if isinstance(tile, int) else dict(tile)
    for name, n in sides.items():
        if name not in names:
            choices = ", ".join(f"`{x}`" for x in names)
            helps = did_you_mean(name, names)
            raise _not_tileable(
                graph, f"`{domain}` has the axes {choices}, not `{name}`", (), helps
            )
        if n < 1:
            raise _not_tileable(graph, f"a tile has 1 point or more on `{name}`, not {n}")
    return tuple(sides.get(x) for x in names)


def _unbounded(graph: Graph, nodes: tuple[Node, ...]) -> OpError:
    first, rest = nodes[0], len(nodes) - 1
    others = f", as {rest} other{'s' if rest > 1 else ''}" if rest else ""
    reason = f"`{first.keyword}` (`{first.path}`) may look at the whole grid{others}"
    helps = (
        LEAVE_TILE_OUT,
        "or build the model of local blocks: `conv`, `difference_conv`, `disco_conv`, `linear`",
    )
    return _not_tileable(graph, reason, (), helps)


def _not_tileable(
    graph: Graph, why: str, notes: tuple[str, ...] = (), helps: tuple[str, ...] = ()
) -> OpError:
    message = f"`{graph.name}` cannot be applied in tiles: {why}"
    return fault("OP0652", message, notes=notes, helps=helps, file=graph.name)
