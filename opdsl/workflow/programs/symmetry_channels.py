"""The channels that a symmetry exchanges or negates: components of vectors, by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from opdsl.diagnostics import Label, OpError, Span, did_you_mean, fault
from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Port
from opdsl.syntax import tree
from opdsl.train.config.symmetries import ChannelSource

ChannelSources = dict[str, tuple[ChannelSource, ...]]


@dataclass(frozen=True, slots=True)
class Component:
    """One channel of an input or output.

    Attributes:
        port: the input or output.
        channel: the index of its channel.
    """

    port: str
    channel: int

    def __str__(self) -> str:
        return f"channel {self.channel} of `{self.port}`"


@dataclass(frozen=True, slots=True)
class Components:
    """The components of the inputs and outputs of a model, by name.

    `vx` is the component `vx` of every function of `R^{vx, vy}`, or else all channels of the input
    or output `vx`; `v[vx]` and `v[0]` are one channel of `v`.
    """

    graph: Graph

    def of(self, expr: tree.Expr) -> tuple[Component, ...]:
        """Return the components that an expression names.

        Raises:
            OpError: OP0655, there is no such component; OP0604, the expression is no name.
        """
        match expr:
            case tree.Name():
                return self._named(expr)
            case tree.Index(value=tree.Name() as port, index=tree.Name() as name):
                return (self._component(port, name),)
            case tree.Index(value=tree.Name() as port, index=tree.Literal(value=int(channel))):
                return (self._channel(port, channel, expr.span),)
        helps = ("write `vx`, `v[vx]` or `v[0]`",)
        raise fault("OP0604", "this names no component", Label(expr.span), helps=helps)

    def pairs(
        self, first: tree.Expr, second: tree.Expr, span: Span
    ) -> Iterator[tuple[Component, Component]]:
        """Yield pairs of components, one for each function that has both.

        Raises:
            OpError: OP0655, they are not on one domain, or one of an input and one of an output.
        """
        left, right = self.of(first), self.of(second)
        if len(left) != len(right):
            message = f"{len(left)} components cannot be exchanged with {len(right)}"
            raise fault("OP0655", message, Label(span))
        for a, b in zip(left, right, strict=True):
            one, other = self._port(a.port), self._port(b.port)
            inputs = self.graph.inputs
            if one.space.domain != other.space.domain or (one in inputs) != (other in inputs):
                notes = ("both have to be inputs or outputs, on one domain",)
                message = f"{a} cannot be exchanged with {b}"
                raise fault("OP0655", message, Label(span), notes=notes)
            yield a, b

    @property
    def _ports(self) -> tuple[Port, ...]:
        return (*self.graph.inputs, *self.graph.outputs)

    def _port(self, name: str) -> Port:
        return next(x for x in self._ports if x.name == name)

    def _named(self, name: tree.Name) -> tuple[Component, ...]:
        matches = [
            Component(x.name, x.space.components.index(name.text))
            for x in self._ports
            if x.space.components and name.text in x.space.components
        ]
        if not matches:
            port = next((x for x in self._ports if x.name == name.text), None)
            channels = decided(port.space.channels) if port else 0
            matches = [Component(name.text, i) for i in range(channels)]
        if not matches:
            names = [y for x in self._ports for y in (x.name, *(x.space.components or ()))]
            raise _unknown(f"no function has a component `{name.text}`", name.span, names)
        return tuple(matches)

    def _component(self, port: tree.Name, name: tree.Name) -> Component:
        names = self._declared(port).space.components or ()
        if name.text not in names:
            raise _unknown(f"`{port.text}` has no component `{name.text}`", name.span, names)
        return Component(port.text, names.index(name.text))

    def _channel(self, port: tree.Name, channel: int, span: Span) -> Component:
        count = decided(self._declared(port).space.channels)
        if not 0 <= channel < count:
            message = f"`{port.text}` has no channel {channel}"
            raise fault("OP0655", message, Label(span), helps=(f"it has 0 to {count - 1}",))
        return Component(port.text, channel)

    def _declared(self, name: tree.Name) -> Port:
        names = [x.name for x in self._ports]
        if name.text not in names:
            raise _unknown(f"there is no input or output `{name.text}`", name.span, names)
        return self._port(name.text)


def _unknown(message: str, span: Span, names: Sequence[str]) -> OpError:
    known = tuple(dict.fromkeys(names))
    listed = (f"there are {', '.join(f'`{x}`' for x in known)}",) if known else ()
    cure = did_you_mean(span.text, known) or listed
    return fault("OP0655", message, Label(span), helps=cure or ("name a channel: `v[0]`",))


def channel_sources(
    graph: Graph,
    odd: Sequence[Component],
    pairs: Sequence[tuple[Component, Component]],
    turned: Sequence[tuple[Component, Component]],
    span: Span,
) -> ChannelSources:
    """Return the source of each channel, for the functions whose channels change.

    Args:
        graph: the model.
        odd: components that are negated.
        pairs: components that are exchanged.
        turned: the two components of vectors that turn by a quarter: (vx, vy) becomes (-vy, vx).
        span: the declaration.

    Raises:
        OpError: OP0655, an output and the input that it becomes by `feedback` differ.
    """
    moves = {x: ChannelSource(x.port, x.channel, -1) for x in odd}
    for a, b in pairs:
        moves |= {a: ChannelSource(b.port, b.channel), b: ChannelSource(a.port, a.channel)}
    for a, b in turned:
        moves |= {a: ChannelSource(b.port, b.channel, -1), b: ChannelSource(a.port, a.channel)}
    changed = {x.port for x in moves}
    sources = {
        x.name: tuple(
            moves.get(Component(x.name, i), ChannelSource(x.name, i))
            for i in range(decided(x.space.channels))
        )
        for x in (*graph.inputs, *graph.outputs)
        if x.name in changed
    }
    _refuse_other_feedback(graph, sources, span)
    return sources


def _refuse_other_feedback(graph: Graph, sources: ChannelSources, span: Span) -> None:
    """Refuse an output whose channels change otherwise than those of the input that it becomes."""
    becomes = {x.output: x.input for x in graph.feedback}
    counts = {x.name: decided(x.space.channels) for x in (*graph.inputs, *graph.outputs)}
    for output, name in becomes.items():
        width = counts[output]
        own = sources.get(output) or tuple(ChannelSource(output, i) for i in range(width))
        window = sources.get(name) or tuple(ChannelSource(name, i) for i in range(counts[name]))
        for i, x in enumerate(window):
            y = own[i % width]
            start = i - i % width  # of the step in time that the channel belongs to
            if x != ChannelSource(becomes.get(y.name, ""), start + y.channel, y.sign):
                message = f"`{output}` becomes `{name}`, but their channels are transformed apart"
                helps = ("name the components of both, as in `R^{vx, vy}`",)
                raise fault("OP0655", message, Label(span), helps=helps)
