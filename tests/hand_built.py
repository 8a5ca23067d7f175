"""Graphs made by hand, for tests of what reads a graph: no parser, no library, no torch."""

from collections.abc import Sequence

from opdsl.diagnostics import Source, Span
from opdsl.ir.axes import Axis
from opdsl.ir.block import Block, Bound, Cost, copy_cost
from opdsl.ir.dims import Poly
from opdsl.ir.graph import Graph, Node, Port, Scope
from opdsl.ir.spaces import Domain, Space

SOURCE = Source("specs/model.op", "line\n" * 40)


class Coords(Block):
    """x."""

    domain: Domain

    def infer(self):
        return Space(domain=self.domain, channels=self.domain.dims)

    def cost(self):
        return copy_cost(self.infer().numbers())


class Concat(Block):
    """(u, v)."""

    def infer(self, u, v, *more):
        return u.with_channels(sum(y.channels for y in (u, v, *more)))

    def cost(self, *x):
        return copy_cost(self.infer(*x).numbers())


class Linear(Block):
    """W v."""

    out: int

    def infer(self, x):
        return x.with_channels(self.out)

    def cost(self, x):
        c, volume = x.channels, x.domain.volume()
        return Cost(c * self.out + self.out, volume * (2 * c * self.out), volume * (4 * self.out))


class Apply(Block):
    """f(v)."""

    act: str

    def infer(self, x):
        return x

    def cost(self, x):
        return Cost(0, x.numbers() * 10, x.numbers() * 4)

    def label(self):
        return self.act


class Flatten(Block):
    """All numbers of v."""

    def infer(self, x):
        return x

    def fixed_resolution(self, _x):
        return "has a channel for each point"

    def cost(self, x):
        return copy_cost(x.numbers())


class Stencil(Block):
    """v and its neighbours."""

    def infer(self, x):
        return x

    def diverges(self, _x):
        return "its stencil shrinks with the grid"

    def cost(self, x):
        return copy_cost(x.numbers())


class Norm(Block):
    """v, of mean 0 and variance 1."""

    kind: str = "instance"

    def infer(self, x):
        return x

    def cost(self, x):
        return Cost(2 * x.channels, x.numbers() * 5, x.numbers() * 4)


class Add(Block):
    """u + v."""

    def infer(self, u, _v):
        return u

    def cost(self, u, _v):
        return Cost(0, u.numbers(), u.numbers() * 4)

    def label(self):
        return "+"


class Resample(Block):
    """v on another grid."""

    to: Domain

    def infer(self, x):
        return x.on(self.to)

    def cost(self, x):
        return copy_cost(self.infer(x).numbers())


class SpectralConv(Block):
    """F^-1(R . F(v))."""

    modes: tuple[int, ...]
    out: int
    to: Domain | None = None

    def infer(self, x):
        return Space(domain=self.to or x.domain, channels=self.out)

    def bounds(self, x):
        domains = [x.domain] + ([self.to] if self.to else [])
        return tuple(
            Bound(d, i, 2 * m + 1, f"|k| <= {m}", "sampling theorem", lambda n: f"modes = {n // 2}")
            for d in domains
            for i, m in enumerate(self.modes)
        )

    def complex_weights(self, x):
        return self.cost(x).params // 2

    def cost(self, x):
        c, n, volume = x.channels, self.modes[0], x.domain.volume()
        weights = c * self.out * (2 * n + 1) * (n + 1)
        logs = [Poly.atom(f"log2({x.domain.atom(i)})") for i in range(x.domain.dims)]
        flops = volume * sum(logs, Poly()) * (5 * (c + self.out)) + 8 * weights
        return Cost(2 * weights, flops, self.infer(x).numbers() * 4)


class Writer:
    """Adds nodes and scopes line by line."""

    def __init__(self, **inputs: Space) -> None:
        self.inputs = inputs
        self.spaces = dict(inputs)
        self.nodes: list[Node] = []
        self.scopes: list[Scope] = []

    def scope(self, path, kind, title, count=None):
        span = self.span()
        self.scopes.append(Scope(path=path, kind=kind, title=title, count=count, span=span))
        return path

    def span(self) -> Span:
        start = 5 * (len(self.nodes) + 1)
        return SOURCE.span(start, start + 4)

    def node(self, path: str, block: Block, *inputs: str) -> str:
        space = block.infer(*(self.spaces[x] for x in inputs))
        self.spaces[path] = space
        node = Node(path=path, block=block, inputs=inputs, space=space, spans=(self.span(),))
        self.nodes.append(node)
        return path

    def lift(self, at: str, v: str, out: int, title: str = "Lift") -> str:
        path = self.scope(f"{at}.{title.lower()}", "block", title)
        v = self.node(f"{path}.w.linear", Linear(out=2 * out), v)
        v = self.node(f"{path}.w.gelu", Apply(act="gelu"), v)
        return self.node(f"{path}.w.linear_2", Linear(out=out), v)

    def layer(self, at: str, v: str, out: int, modes: Sequence[int], act="gelu", to=None) -> str:
        path = self.scope(f"{at}.fourier_layer", "block", "FourierLayer")
        k = self.node(f"{path}.k", SpectralConv(modes=tuple(modes), out=out, to=to), v)
        s = self.node(f"{path}.s.linear", Linear(out=out), v)
        if to is not None:
            s = self.node(f"{path}.s.resample", Resample(to=to), s)
        v = self.node(f"{path}.w.add", Add(), k, s)
        return v if act == "identity" else self.node(f"{path}.w.apply", Apply(act=act), v)

    def graph(self, name: str, outputs: dict[str, str], doc: str | None = None) -> Graph:
        domains = {x.domain.name: x.domain.root for x in self.inputs.values()}
        return Graph(
            name=name,
            doc=doc,
            edition=2026,
            params={},
            domains=tuple(domains.values()),
            inputs=tuple(Port(name=x, space=y) for x, y in self.inputs.items()),
            outputs=tuple(Port(name=x, space=self.spaces[y], source=y) for x, y in outputs.items()),
            nodes=tuple(self.nodes),
            scopes=tuple(self.scopes),
        )


def square(least: int = 33, boundary: str = "dirichlet") -> Domain:
    axes = tuple(Axis(name=x, boundary=boundary, min=least) for x in "xy")
    return Domain(name="D", axes=axes)


def fno(depth: int = 4, width: int = 64, last: str = "identity") -> Graph:
    """The FNO of specs/fno_darcy.op: the last layer has no activation."""
    d = square()
    p = Writer(a=Space(domain=d, channels=1, components=("perm",)))
    p.scope("u", "binding", "u")
    coords = p.node("u.coords", Coords(domain=d))
    v = p.lift("u", p.node("u.concat", Concat(), "a", coords), width)
    p.scope("u.repeat", "repeat", "repeat", depth)
    for i in range(depth):
        p.scope(f"u.repeat.{i}", "iteration", str(i))
        v = p.layer(f"u.repeat.{i}", v, width, (16, 16), last if i == depth - 1 else "gelu")
    v = p.lift("u", v, 1, "Project")
    return p.graph("DarcyFNO", {"u": v}, "FNO-2D: permeability to pressure on the unit square")


def uno() -> Graph:
    """A U-shaped operator with two levels and a skip on each."""
    d = square(68, "periodic")
    p = Writer(a=Space(domain=d, channels=3))
    for name in ("e0", "e1", "e2", "m", "d1", "d0", "u"):
        p.scope(name, "binding", name)
    e0 = p.lift("e0", "a", 32)
    e1 = p.layer("e1", e0, 64, (16, 16), to=d.coarsened(2))
    e2 = p.layer("e2", e1, 128, (8, 8), to=d.coarsened(4))
    p.scope("m.repeat", "repeat", "repeat", 2)
    m = e2
    for i in range(2):
        p.scope(f"m.repeat.{i}", "iteration", str(i))
        m = p.layer(f"m.repeat.{i}", m, 128, (8, 8))
    d1 = p.layer("d1", m, 64, (8, 8), to=d.coarsened(2))
    d0 = p.layer("d0", p.node("d0.concat", Concat(), d1, e1), 32, (16, 16), to=d)
    u = p.lift("u", p.node("u.concat", Concat(), d0, e0), 1, "Project")
    return p.graph("UNO", {"u": u}, "U-shaped neural operator; every skip joins equal grids")


def residual(depth: int = 4) -> Graph:
    """Pre-norm residual Fourier layers: repeat 4 { residual { norm |> FourierLayer } }."""
    d = square(33, "periodic")
    p = Writer(a=Space(domain=d, channels=1), nu=Space(domain=d, channels=32))
    p.scope("u", "binding", "u")
    v = p.lift("u", "a", 32)
    p.scope("u.repeat", "repeat", "repeat", depth)
    for i in range(depth):
        at = p.scope(f"u.repeat.{i}", "iteration", str(i)) + ".residual"
        p.scope(at, "residual", "residual")
        w = p.layer(at, p.node(f"{at}.norm", Norm(kind="layer"), v), 32, (12, 12))
        v = p.node(f"{at}.add", Add(), v, p.node(f"{at}.add_2", Add(), w, "nu"))
    return p.graph("ResidualFNO", {"u": p.lift("u", v, 1, "Project")})
