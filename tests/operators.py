"""Blocks that run, small enough to be seen through, and graphs of them for the lowering's tests."""

import math

from opdsl.ir.axes import Axis
from opdsl.ir.block import Block, Bound, Cost, Work, copy_cost
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import Domain, Space
from tests.hand_built import SOURCE, Writer


class Dense(Block):
    """W u + b."""

    out: int

    def infer(self, x):
        return x.with_channels(self.out)

    def cost(self, x):
        return Cost((x.channels + 1) * self.out, x.numbers(), x.numbers())

    def lower(self, x):
        from torch import nn

        return nn.Linear(x.channels, self.out)


class Bend(Block):
    """f(u)."""

    act: str = "gelu"

    def infer(self, x):
        return x

    def cost(self, x):
        return copy_cost(x.numbers())

    def lower(self, _x):
        from opdsl.nn import Activation

        return Activation(self.act)


class Drop(Block):
    """u, some numbers of it zero while training."""

    rate: float = 0.5

    def infer(self, x):
        return x

    def cost(self, x):
        return copy_cost(x.numbers())

    def lower(self, _x):
        from torch import nn

        return nn.Dropout(self.rate)


class Join(Block):
    """(u, v, ...)."""

    def infer(self, u, v, *more):
        return u.with_channels(sum(y.channels for y in (u, v, *more)))

    def cost(self, *x):
        return copy_cost(self.infer(*x).numbers())

    def lower(self, *_):
        from opdsl.nn import Concat

        return Concat()


class Place(Block):
    """x."""

    sized = True
    domain: Domain

    def infer(self):
        return Space(domain=self.domain, channels=self.domain.dims)

    def cost(self):
        return copy_cost(self.infer().numbers())

    def lower(self):
        from torch import nn

        from opdsl.nn import coords

        class Where(nn.Module):
            def forward(self, size, like):
                n = len(size)
                made = coords(size, (0.0,) * n, (1.0,) * n, (True,) * n)
                return made.to(like)

        return Where()


class Wave(Block):
    """F^-1(R . F(u))."""

    kernels = ("fft", "dft")
    sized = True
    modes: tuple[int, ...]
    out: int
    to: Domain | None = None

    def infer(self, x):
        return Space(domain=self.to or x.domain, channels=self.out)

    def bounds(self, x):
        domains = {y.label: y for y in (x.domain, self.to or x.domain)}.values()
        return tuple(
            Bound(
                d,
                i,
                2 * m + 1,
                f"|k| <= {m}",
                f"sampling theorem: 2 * {m} + 1 = {2 * m + 1} samples",
                lambda n: f"modes = {(n - 1) // 2}",
            )
            for d in domains
            for i, m in enumerate(self.modes)
        )

    def cost(self, x):
        frequencies = math.prod(2 * m + 1 for m in self.modes[:-1]) * (self.modes[-1] + 1)
        weights = 2 * frequencies * x.channels * self.out + self.out
        return Cost(weights, self.infer(x).numbers(), self.infer(x).numbers())

    def work(self, kernel, sizes, x):
        points = math.prod(sizes[0])
        if kernel == "dft":
            return Work(gemm=4.0 * points * (2 * self.modes[-1] + 1) * x.channels)
        return Work(fft=5.0 * points * math.log2(points) * x.channels, moved=24.0 * points)

    def lower(self, x):
        from opdsl.nn import SpectralConv

        return SpectralConv(x.channels, self.out, self.modes)


def line(least: int = 9, **more) -> Domain:
    return Domain(name="D", axes=(Axis(name="x", min=least, **more),))


def plane(least: int = 9, name: str = "D") -> Domain:
    return Domain(name=name, axes=(Axis(name="x", min=least), Axis(name="y", min=least)))


def fourier(channels: int = 1, modes: tuple[int, ...] = (4, 4)) -> Graph:
    """A small Fourier operator: coordinates, a lift, two layers with a skip, a projection."""
    d = Domain(name="D", axes=tuple(Axis(name=a, min=9) for a in "xyz"[: len(modes)]))
    p = Writer(a=Space(domain=d, channels=channels))
    v = p.node("u.concat", Join(), "a", p.node("u.coords", Place(domain=d)))
    v = p.node("u.lift", Dense(out=6), v)
    for i in range(2):
        at = f"u.repeat.{i}.fourier_layer"
        k = p.node(f"{at}.k", Wave(modes=modes, out=6), v)
        s = p.node(f"{at}.s", Dense(out=6), v)
        v = p.node(f"{at}.act", Bend(), p.node(f"{at}.add", Join(), k, s))
        v = p.node(f"{at}.w", Dense(out=6), v)
    return p.graph("Small", {"u": p.node("u.project", Dense(out=2), v)})


def ports(graph: Graph) -> Graph:
    """The graph with inputs that have a place in a text."""
    inputs = tuple(Port(name=x.name, space=x.space, span=SOURCE.span(0, 4)) for x in graph.inputs)
    return graph.model_copy(update={"inputs": inputs})
