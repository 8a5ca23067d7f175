"""Well-typed programs drawn at random, with what they mean worked out beside them.

The maker keeps its own books: the space of every name, the number of parameters, the bound of the
resolution. Nothing of the compiler enters, so that both can be compared.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

HEAD = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import ChannelMLP

"""


@dataclass(frozen=True)
class Known:
    """A name of the program: its domain (`D`, `D/2`, `E`, empty for a vector) and channels."""

    name: str
    domain: str
    channels: int


@dataclass
class Maker:
    """Draws one program.

    Attributes:
        least: points that `D` needs on each axis.
        params: real numbers that the model trains.
    """

    rng: random.Random
    axes: int = 1
    lines: list[str] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    unused: set[str] = field(default_factory=set)
    params: int = 0
    least: int = 4  # E must be longer than D, and D/2 have a point

    def new(self, value: str, domain: str, channels: int, *used: Known) -> Known:
        """Bind a new name."""
        made = Known(f"n{len(self.known)}", domain, channels)
        self.lines.append(f"{made.name} = {value}")
        self.known.append(made)
        self.unused -= {x.name for x in used}
        self.unused.add(made.name)
        return made

    def draw(self, *domains: str) -> Known | None:
        """A known function on one of these domains."""
        fitting = [x for x in self.known if x.domain in domains]
        return self.rng.choice(fitting) if fitting else None

    def step(self) -> None:
        """One more statement, if it fits."""
        ways = (
            self.linear, self.fourier, self.convolve, self.coarsen, self.joined, self.summed,
            self.residual, self.repeated, self.tied, self.located, self.integrated, self.condition,
            self.chosen, self.extended, self.normed, self.plain,
        )  # fmt: skip
        self.rng.choice(ways)()

    # ---------------------------------------------------------------- statements

    def linear(self) -> None:
        x, out = self.draw("D", "D/2", ""), self.width()
        if x:
            self.params += x.channels * out + out
            self.new(f"{x.name} |> linear(out = {out}) |> tanh()", x.domain, out, x)

    def fourier(self) -> None:
        x, m, out = self.draw("D", "D/2"), self.rng.randint(1, 2), self.width()
        if x:
            self.kept(m, x.domain)
            self.params += self.spectral(m, x.channels, out) + x.channels * out + out
            layer = f"FourierLayer(modes = {m}, out = {out})"
            self.new(f"{x.name} |> gelu() |> {layer}", x.domain, out, x)

    def convolve(self) -> None:
        x, m = self.draw("D"), self.rng.randint(1, 2)
        if x:
            self.kept(m, "D/2")
            self.params += self.spectral(m, x.channels, x.channels)
            value = f"spectral_conv(gelu({x.name}), modes = {m}, to = D / 2, bias = false)"
            self.new(value, "D/2", x.channels, x)

    def coarsen(self) -> None:
        x = self.draw("D", "D/2")
        if x:
            to = "D / 2" if x.domain == "D" else "D"
            self.new(f"resample(gelu({x.name}), to = {to})", to.replace(" ", ""), x.channels, x)

    def joined(self) -> None:
        x = self.draw("D", "D/2", "")
        y = self.draw(x.domain) if x else None
        if x and y:
            self.new(f"concat({x.name}, {y.name})", x.domain, x.channels + y.channels, x, y)

    def summed(self) -> None:
        x = self.draw("D", "D/2", "")
        fitting = [y for y in self.known if x and (y.domain, y.channels) == (x.domain, x.channels)]
        if x and fitting:
            y, sign = self.rng.choice(fitting), self.rng.choice("+*")
            self.new(f"{x.name} {sign} {y.name}", x.domain, x.channels, x, y)

    def residual(self) -> None:
        x = self.draw("D", "D/2", "")
        if x:
            self.params += x.channels**2 + x.channels
            body = f"gelu() |> linear(out = {x.channels})"
            self.new(f"{x.name} |> residual {{ {body} }}", x.domain, x.channels, x)

    def repeated(self) -> None:
        x, count = self.draw("D", ""), self.rng.randint(1, 3)
        if x:
            self.params += count * (x.channels**2 + x.channels)
            body = f"linear(out = {x.channels}) |> tanh()"
            self.new(f"{x.name} |> repeat {count} as i {{ {body} }}", x.domain, x.channels, x)

    def tied(self) -> None:
        x, count = self.draw("D", ""), self.rng.randint(1, 3)
        if x:
            self.params += x.channels**2 + x.channels
            body = f"linear(out = {x.channels}) |> tanh()"
            self.new(f"{x.name} |> repeat {count} shared {{ {body} }}", x.domain, x.channels, x)

    def located(self) -> None:
        self.new(self.rng.choice(("coords(D)", "coords(D / 1)")), "D", self.axes)

    def integrated(self) -> None:
        x = self.draw("D", "D/2")
        if x:
            self.new(f"integrate(gelu({x.name}))", "", x.channels, x)

    def condition(self) -> None:
        x, v = self.draw("D", "D/2"), self.draw("")
        if x and v:
            self.params += 2 * x.channels * (v.channels + 1)
            self.new(f"modulate(gelu({x.name}), {v.name})", x.domain, x.channels, x, v)

    def chosen(self) -> None:
        x = self.draw("D", "D/2", "")
        if x:
            i = self.rng.randrange(x.channels)
            self.new(f"concat({x.name}[{i}], {x.name})", x.domain, x.channels + 1, x)

    def extended(self) -> None:
        x, m = self.draw("D"), 1
        if x:
            self.kept(m, "E")
            self.params += self.spectral(m, x.channels, x.channels)
            conv = f"spectral_conv(modes = {m}, bias = false)"
            value = f"{x.name} |> pad(to = E) |> {conv} |> crop(to = D) |> gelu()"
            self.new(value, "D", x.channels, x)

    def normed(self) -> None:
        x = self.draw("D", "D/2")
        if x and x.channels >= 3:
            self.params += 2 * x.channels
            self.new(f"{x.name} |> norm(kind = layer)", x.domain, x.channels, x)

    def plain(self) -> None:
        x = self.draw("D", "D/2", "")
        if x:
            hidden = int(2.0 * x.channels)
            self.params += x.channels * hidden + hidden + hidden * x.channels + x.channels
            self.new(f"ChannelMLP({x.name}, expansion = 2.0)", x.domain, x.channels, x)

    # --------------------------------------------------------------------- books

    def width(self) -> int:
        return self.rng.randint(2, 4)

    def spectral(self, m: int, c: int, out: int) -> int:
        """Two real numbers for each kept mode, the last axis halved."""
        return 2 * c * out * (2 * m + 1) ** (self.axes - 1) * (m + 1)

    def kept(self, m: int, domain: str) -> None:
        """The sampling theorem on a domain, as a bound on D."""
        need = 2 * m + 1
        on_d = {"D": need, "D/2": 2 * need, "E": next(n for n in range(1, 99) if longer(n) >= need)}
        self.least = max(self.least, on_d[domain])

    def finish(self) -> None:
        """Bring everything that nothing uses together in the output."""
        ends = [x for x in self.known if x.name in self.unused]
        parts = [self.moved(x) for x in ends]
        self.lines.append(f"u = concat({', '.join(parts)}) |> gelu() |> linear(out = 2)")
        self.params += 2 * sum(x.channels for x in ends) + 2

    def moved(self, x: Known) -> str:
        if x.domain == "":
            return f"broadcast({x.name}, to = D)"
        return f"resample(gelu({x.name}), to = D)" if x.domain == "D/2" else x.name


@dataclass(frozen=True)
class Program:
    """A program and what it means."""

    domains: tuple[str, ...]
    lines: tuple[str, ...]
    axes: int
    least: int
    params: int

    def text(self, *more: str) -> str:
        """The program, with more statements if wanted."""
        body = "\n".join(f"  {x}" for x in (*self.domains, *self.lines, *more))
        return f"{HEAD}model M {{\n{body}\n}}\n"


def longer(n: int) -> int:
    """Points of E, a quarter longer than D, which has n points and both ends."""
    return max(n, (n - 1) + math.ceil((n - 1) / 4))


def program(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)  # noqa: S311  not for secrets
    axes = rng.choice((1, 1, 2))
    maker = Maker(rng, axes)
    for name, domain, channels in (("a", "D", 2), ("b", "D/2", 3), ("s", "", 2)):
        maker.known.append(Known(name, domain, channels))
        maker.unused.add(name)
    for _ in range(rng.randint(1, 9)):
        maker.step()
    maker.finish()
    rng.shuffle(maker.lines)  # names stand in any order
    box = ", ".join(f"{x}: 0..1" for x in ("x", "y")[:axes])
    domains = (
        f"domain D = grid({box}, min = {maker.least})",
        "domain E = extend(D, fraction = 0.25)",
        "input a : D -> R^2",
        "input b : D / 2 -> R^3",
        "input s : R^2",
        "output u : D -> R^2",
    )
    return Program(domains, tuple(maker.lines), axes, maker.least, maker.params)
