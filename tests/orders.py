"""Measured orders of convergence: random weights, float64, analytic inputs with declared ends.

E(N) = ||G_N - G_rN|| / ||G_rN|| on the points that the grids of N and r N spacings share (r = 2, or
3 where the points are cell centres), and the order is log_r E(N) / E(r N). The inputs are closed
forms, so that grids with every sampling see one function. `predicted` is the order of the
certificate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from opdsl.compiler import load
from opdsl.ir.axes import Axis
from opdsl.ir.convergence import Convergence, converge
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain, Space
from opdsl.lower.module import lower
from opdsl.nn.sphere.sampling import UnitVectors
from opdsl.sampling import points_of, positions

SPECTRAL_ORDER = 6  # faster than this is called spectral
SMALL_ERROR = 1e-10  # at which a spectral error may end
ROUNDING = 1e-13
FITTED = 4  # errors through which the slope is taken: kinks between the points make it erratic
BELOW, ABOVE = 0.3, 0.5  # how much less and more than predicted may be measured
SMALLEST = {1: 32, 2: 16, 3: 8, 4: 6}
LARGEST = {1: 2048, 2: 256, 3: 48, 4: 24}
# parameters that make models small, where they have them
SMALL = {"width": 8, "modes": 5, "depth": 2}
SMALLER = {"fno_4d": {"width": 4, "modes": 2, "depth": 2}}

Call = dict[str, Tensor]


@dataclass(frozen=True)
class Measured:
    """E(N) by N, and the orders between neighbours.

    Attributes:
        predicted: the order of the certificate; None: not known.
        errors: E by the number of spacings of the first axis.
    """

    convergence: Convergence
    errors: Mapping[int, float]
    ratio: int

    @property
    def predicted(self) -> float | None:
        """The order of the certificate, infinite if spectral; None: not known."""
        return None if self.convergence.order is None else self.convergence.order.value

    @property
    def orders(self) -> tuple[float, ...]:
        """Between neighbours, the coarsest first."""
        pairs = itertools.pairwise(self.errors.values())
        return tuple(math.log(a / b, self.ratio) if a and b else math.inf for a, b in pairs)

    @property
    def order(self) -> float:
        """The slope through the finest errors above rounding; infinite if there are none."""
        sound = [(n, e) for n, e in self.errors.items() if e > ROUNDING][-FITTED:]
        if len(sound) < 2:
            return math.inf
        x = torch.tensor([[math.log(n), 1.0] for n, _ in sound], dtype=torch.float64)
        y = torch.tensor([math.log(e) for _, e in sound], dtype=torch.float64)
        return -float(torch.linalg.lstsq(x, y[:, None]).solution[0])

    @property
    def spectral(self) -> bool:
        """Whether the error falls faster than powers, or reaches `SMALL_ERROR`."""
        return list(self.errors.values())[-1] < SMALL_ERROR or max(self.orders) > SPECTRAL_ORDER

    @property
    def agrees(self) -> bool:
        """Whether measurement and prediction agree; an unknown order agrees with any."""
        predicted = self.predicted
        if predicted is None or math.isinf(predicted):
            return predicted is None or self.spectral
        return predicted - BELOW <= self.order <= predicted + ABOVE


@dataclass(frozen=True)
class Ladder:
    """Which grids are compared; `sizes` are spacings of each axis that is refined."""

    sizes: Sequence[int] = ()
    seeds: int = 2
    params: Mapping[str, object] = field(default_factory=dict)


STANDARD = Ladder()


def measure(program: str | Path, ladder: Ladder = STANDARD) -> Measured | None:
    """Measure a program; None if its inputs are not functions on grids or spheres, or vectors."""
    graph = load(str(program), **dict(ladder.params or small(program)))
    if not measurable(graph):
        return None
    sizes = tuple(ladder.sizes) or ladder_of(graph)
    ratio = sizes[1] // sizes[0]
    squares = dict.fromkeys(sizes[:-1], 0.0)
    norms = dict.fromkeys(sizes[:-1], 0.0)
    for seed in range(ladder.seeds):
        torch.manual_seed(seed)
        module = lower(graph).double().eval()
        results = {n: run(graph, module, n, seed) for n in sizes}
        for n, finer in itertools.pairwise(sizes):
            for port, a, b in zip(graph.outputs, results[n], results[finer], strict=True):
                same = shared(b, port.space.domain, ratio)
                squares[n] += float((a - same).abs().square().mean())
                norms[n] += float(same.abs().square().mean())
    errors = {n: math.sqrt(squares[n] / norms[n]) for n in squares}
    return Measured(converge(graph), errors, ratio)


def small(program: str | Path) -> dict[str, object]:
    """Values that make a model small, of the parameters that it has."""
    has = load(str(program)).params
    of_spec = SMALLER.get(program.stem, {}) if isinstance(program, Path) else {}
    return {k: x for k, x in (SMALL | of_spec).items() if k in has}


def measurable(graph: Graph) -> bool:
    """Whether closed forms can be put in and no table is asked for."""
    domains = [x.space.domain for x in (*graph.inputs, *graph.outputs)]
    nested = ("vector", None), ("sphere", "equiangular")
    sound = all(x.regular or (x.kind, x.sampling) in nested for x in domains)
    return sound and not graph.side_inputs() and any(refined(x) for x in domains)


def refined(domain: Domain) -> bool:
    """Whether any axis of a domain has more than one resolution."""
    return any(not a.pinned for a in domain.axes)


def ladder_of(graph: Graph) -> tuple[int, ...]:
    """Choose grids: as fine as the number of axes allows, at least what the program promises."""
    domain = max((x.space.domain for x in graph.inputs), key=lambda x: x.dims)
    ratio = 3 if any(a.points == "centres" for a in domain.axes) else 2
    least = max(a.least for d in graph.domains for a in d.axes if not a.pinned)
    dims = domain.dims
    n = SMALLEST[dims]
    while min(count(a, n) for d in graph.domains for a in d.axes if not a.pinned) < least:
        n *= 2
    sizes = [n]
    while sizes[-1] * ratio <= max(LARGEST[dims], n * ratio * ratio):
        sizes.append(sizes[-1] * ratio)
    return tuple(sizes)


def run(graph: Graph, module: torch.nn.Module, n: int, seed: int) -> list[Tensor]:
    """Apply a module to the inputs on a grid of n spacings."""
    inputs = [function(x.space, x.ends, n, seed + i) for i, x in enumerate(graph.inputs)]
    with torch.no_grad():
        found = module(*inputs)
    return [found] if isinstance(found, Tensor) else list(found.values())


def count(axis: Axis, n: int) -> int:
    """The points on an axis of n spacings; a pinned one stays."""
    return axis.least if axis.pinned else points_of(axis.points, n)


def shared(x: Tensor, domain: Domain, ratio: int) -> Tensor:
    """Take the points that are points of the coarser grid too."""
    for i, axis in enumerate(domain.axes):
        if axis.pinned:
            continue
        first = {"centres": ratio // 2, "interior": ratio - 1, "upper": ratio - 1}
        start = 0 if domain.kind == "sphere" else first.get(axis.points, 0)
        step = slice(start, None, ratio)
        x = x[(slice(None),) * (2 + i) + (step,)]
    return x


# ------------------------------------------------------------------------------- functions


def function(space: Space, ends: object, n: int, seed: int) -> Tensor:
    """A random analytic function with the declared ends, (1, channels, *grid), float64."""
    random = torch.Generator().manual_seed(1000 + seed)
    parts = int(space.channels) * (2 if space.complex else 1)
    channels = torch.stack([_channel(space.domain, ends, n, random) for _ in range(parts)])
    return torch.complex(channels[::2], channels[1::2])[None] if space.complex else channels[None]


def _channel(domain: Domain, ends, n: int, random: torch.Generator) -> Tensor:
    if domain.kind == "vector":
        return torch.rand((), generator=random, dtype=torch.float64)
    if domain.kind == "sphere":
        direction = torch.randn(3, generator=random, dtype=torch.float64)
        size, like = (n + 1, 2 * n), torch.empty(0, dtype=torch.float64)
        vectors = UnitVectors(domain.sampling or "gauss_legendre")(size=size, like=like)[0]
        return torch.exp(vectors @ direction * 0.5)
    words = ends or [None if closed else ("none", "none") for closed in domain.periodic]
    total = None
    for _ in range(2):  # two terms, so that the function is no product
        term = None
        for axis, pair in zip(domain.axes, words, strict=True):
            t = torch.tensor(positions(axis.points, count(axis, n)), dtype=torch.float64)
            line = _circle(t, random) if pair is None else _interval(t, pair, random)
            term = line if term is None else term[..., None] * line
        total = term if total is None else total + term
    return total


def _circle(t: Tensor, random: torch.Generator) -> Tensor:
    phase = torch.rand(2, generator=random, dtype=torch.float64)
    return torch.exp(0.4 * torch.sin(2 * math.pi * (t + phase[0]))) * (1 + phase[1])


def _interval(t: Tensor, pair: tuple[str, str], random: torch.Generator) -> Tensor:
    """A wave with the parities of both ends, times what breaks them where none is declared."""
    a = torch.rand(4, generator=random, dtype=torch.float64)
    parities = ["odd" if x in {"odd", "dirichlet"} else "even" for x in pair]
    shift = 0.0 if parities[0] == parities[1] else 0.5
    wave = torch.zeros_like(t)
    for k in (1, 2):
        angle = math.pi * (k - shift) * t
        wave += (0.5 + a[k]) / k * (torch.sin(angle) if parities[0] == "odd" else torch.cos(angle))
    # odd functions of odd ones are odd; even ones may be made positive
    wave = torch.exp(0.5 * wave) if parities == ["even", "even"] else torch.tanh(0.8 * wave)
    for i, word in enumerate(pair):
        odd = torch.sin(math.pi / 2 * t) if i == 0 else torch.cos(math.pi / 2 * t)
        power = {"none": 1, "dirichlet": 1, "neumann": 3}.get(word)
        if power:
            wave = wave * torch.exp((0.3 + 0.4 * a[2 + i]) * odd**power)
    return wave


def specs(folder: Path) -> Iterator[Path]:
    """Every spec, by name."""
    yield from sorted(folder.glob("*.op"))
