"""Times kernel integrals beside neuraloperator's, and refines what they sum over.

    PYTHONPATH=.:NEURALOPERATOR python benchmarks/gno_rates.py --write

The kernel is that of `GNOBlock` as it comes: layers of 128, 256 and 128, 32 waves for each of three
coordinates, 32 channels, a sum. The same weights, points and neighbours everywhere; no search is
timed. `loop` is neuraloperator without its compiled packages, which sums in a loop over queries;
`reduce` and `add` are the same with `torch.segment_reduce` and `index_add` in place of that loop.
All ways take turns in one process, the least time of several. Peak memory is that of a fresh
process for each way, of one forward and backward pass, above what it had before. `--write` writes
`results/gno_rates.md`.
"""

import argparse
import math
import multiprocessing
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from opdsl.nn.grid.coords import Coords
from opdsl.nn.layers.embedding import Sinusoids
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.integral import chunked_sum
from opdsl.nn.points.integral.gno import Gno, GridWeights, Side
from opdsl.nn.points.neighbours.search import NeighbourRule, neighbours

try:
    from neuralop.layers import integral_transform
    from neuralop.layers.gno_block import GNOBlock

    LOOP = integral_transform.segment_csr
except ImportError:
    GNOBlock = None

RESULTS = Path(__file__).parent / "results" / "gno_rates.md"
CHANNELS, WAVES, LAYERS = 32, 192, (128, 256, 128)
WAYS = ("loop", "reduce", "add", "ours") if GNOBlock else ("ours",)
FORWARD, BACKWARD = 9, 7  # times each is run; the loop three and two times


# ------------------------------------------------------------------------ ways


@dataclass(frozen=True)
class Case:
    """Random points in the unit cube, queries the same or on a grid."""

    name: str
    kind: str
    points: int
    radius: float
    grid: int | None = None

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Points and queries."""
        points = torch.rand(self.points, 3, generator=torch.Generator().manual_seed(0))
        if self.grid is None:
            return points, points
        return points, torch.cartesian_prod(*[torch.linspace(0, 1, self.grid)] * 3)

    @cached_property
    def values(self) -> Tensor:
        """A function on the points."""
        made = torch.Generator().manual_seed(1)
        return torch.randn(self.points, CHANNELS, generator=made)

    @cached_property
    def placed(self) -> tuple[tuple[Geometry], tuple[Geometry]]:
        """The geometries as our layer takes them."""
        points, queries = self.places
        return (Geometry(points),), (Geometry(queries),)

    @cached_property
    def pairs(self):
        """Neighbours, the same for all."""
        return neighbours(
            self.placed[0][0], self.placed[1][0], NeighbourRule(self.radius, allow_isolated=True)
        )

    @cached_property
    def ours(self) -> Gno:
        """Our layer."""
        torch.manual_seed(0)
        seen = 2 * WAVES + (CHANNELS if self.kind.startswith("nonlinear") else 0)
        return Gno(
            Side(),
            Side(),
            (seen, *LAYERS, CHANNELS),
            NeighbourRule(self.radius, allow_isolated=True),
            act="gelu",
            kind=self.kind,
            embedding=Sinusoids("transformer", 32, 10000),
            reduction="sum",
        )

    @cached_property
    def theirs(self) -> nn.Module:
        """Theirs, with our weights."""
        made = GNOBlock(
            CHANNELS,
            CHANNELS,
            3,
            self.radius,
            transform_type=self.kind,
            use_torch_scatter_reduce=False,
            use_open3d_neighbor_search=False,
        )
        first, layers = self.ours.first, made.integral_transform.channel_mlp.fcs
        with torch.no_grad():
            x, y, v = first.weight.split([WAVES, WAVES, first.in_features - 2 * WAVES], 1)
            layers[0].weight.copy_(torch.cat((y, x, v), 1))
            layers[0].bias.copy_(first.bias)
            mine = [x for x in self.ours.rest if isinstance(x, nn.Linear)]
            for a, b in zip(layers[1:], mine, strict=True):
                a.load_state_dict(b.state_dict())
        return made

    def forward(self, way: str) -> Tensor:
        """The result at the queries."""
        if way == "ours":
            given = (self.values[None], (len(self.places[1]),), self.placed)
            return self.ours(*given)[0]
        integral_transform.segment_csr = {"loop": LOOP, "reduce": reduced, "add": added}[way]
        points, queries = (self.theirs.pos_embedding(x) for x in self.places)
        told = {"neighbors_index": self.pairs.points, "neighbors_row_splits": self.pairs.rows}
        return self.theirs.integral_transform(points, told, queries, self.values)

    def inference(self, way: str):
        """A forward pass."""
        with torch.no_grad():
            self.forward(way)

    def training(self, way: str):
        """A forward and a backward pass."""
        module = self.ours if way == "ours" else self.theirs
        module.zero_grad()
        self.forward(way).sum().backward()


def reduced(source: Tensor, rows: Tensor, **_) -> Tensor:
    """Sums of segments."""
    return torch.segment_reduce(source, "sum", offsets=rows, axis=0)


def added(source: Tensor, rows: Tensor, **_) -> Tensor:
    """Sum over neighbours by addition to rows."""
    owners = torch.repeat_interleave(rows.diff())
    return source.new_zeros(len(rows) - 1, source.shape[1]).index_add(0, owners, source)


CASES = (
    Case("4000 and the same, r = 0.1", "linear", 4000, 0.1),
    Case("4000 and the same, r = 0.1", "nonlinear", 4000, 0.1),
    Case("4000 and the same, r = 0.1", "nonlinear_kernelonly", 4000, 0.1),
    Case("4000 and the same, r = 0.05", "linear", 4000, 0.05),
    Case("4000 and 16^3, r = 0.1", "linear", 4000, 0.1, grid=16),
)


# ------------------------------------------------------------------------ tables


def main():
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--write", action="store_true", help="write the results")
    given.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    told = given.parse_args()
    parts = [TOP]
    for threads in told.threads:
        torch.set_num_threads(threads)
        parts.append("\n".join([f"## {threads} thread{'s' * (threads > 1)}\n", HEAD, *rows()]))
    parts += [large(), refined()]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if told.write:
        RESULTS.write_text(text)


TOP = f"""# Kernel integrals

{__doc__.split(chr(10) * 2)[2]}

Times in ms, of a forward pass without gradients and of a forward and a backward pass; factors are
theirs over ours. `apart` is the greatest difference of ours and `add`, over the greatest value.
torch {torch.__version__}."""
HEAD = (
    "| points and queries | kernel | pairs | forward: loop, reduce, add, ours | over add | "
    "with backward: loop, reduce, add, ours | over loop | over add | "
    "MiB: loop, reduce, add, ours | apart |\n|---|---|---|---|---|---|---|---|---|---|"
)


def rows():
    """Lines of the table."""
    for case in CASES:
        forward = timed(case.inference, FORWARD)
        both = timed(case.training, BACKWARD)
        memory = [peak(case, x) for x in WAYS]
        cells = (
            case.name,
            case.kind,
            f"{len(case.pairs):,}",
            ", ".join(f"{forward[x]:.0f}" for x in WAYS),
            factor(forward, "add"),
            ", ".join(f"{both[x]:.0f}" for x in WAYS),
            factor(both, "loop"),
            factor(both, "add"),
            ", ".join(f"{x:.0f}" for x in memory),
            apart(case),
        )
        yield f"| {' | '.join(cells)} |"


def timed(run, repeats: int) -> dict[str, float]:
    """The least time of each way in ms, taken in turn."""
    least = dict.fromkeys(WAYS, math.inf)
    for i in range(repeats + 1):
        for way in WAYS:
            if way == "loop" and i > 2:
                continue
            start = time.perf_counter()
            run(way)
            if i:
                least[way] = min(least[way], 1e3 * (time.perf_counter() - start))
    return least


def factor(times: dict[str, float], way: str) -> str:
    """How many times as long a way takes."""
    return f"**{times[way] / times['ours']:.1f}**" if way in times else ""


def apart(case: Case) -> str:
    """How far ours is from theirs."""
    if "add" not in WAYS:
        return ""
    with torch.no_grad():
        one, other = case.forward("ours"), case.forward("add")
    return f"{((one - other).abs().max() / other.abs().max()).item():.0e}"


# ------------------------------------------------------------------------ memory


def peak(case: Case, way: str) -> float:
    """MiB of a forward and a backward pass, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (case, way, torch.get_num_threads()))[0]


def _peak(case: Case, way: str, threads: int) -> tuple[float, float]:
    """MiB above what there was before, and seconds."""
    torch.set_num_threads(threads)
    Case("", "linear", 50, 0.5).training(way)  # what is loaded once
    _ = case.pairs, case.values, case.ours if way == "ours" else case.theirs
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = _told("VmRSS"), time.perf_counter()
    case.training(way)
    return (_told("VmHWM") - before) / 1024, time.perf_counter() - start


def _told(what: str) -> int:
    """KiB, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(what))


@dataclass(frozen=True)
class Large(Case):
    """Many points, and queries elsewhere."""

    queries: int = 100_000

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Points and queries, both random."""
        made = torch.Generator().manual_seed(0)
        return torch.rand(self.points, 3, generator=made), torch.rand(
            self.queries, 3, generator=made
        )


def large() -> str:
    """What should fit into 8 GiB."""
    radius = (16 / 200_000 / (4 / 3 * math.pi)) ** (1 / 3)
    case = Large("", "linear", 200_000, radius)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        mib, seconds = pool.apply(_peak, (case, "ours", 2))
    layers = len(case.pairs) * sum(LAYERS) * 4 / 2**20
    return (
        "## 200,000 points, 100,000 queries, 16 neighbours\n\n"
        f"{len(case.pairs):,} pairs: forward and backward in {seconds:.1f} s and {mib:.0f} MiB "
        f"on two threads.\nThe hidden layers of all pairs would be {layers:.0f} MiB once; beyond "
        f"{chunked_sum.MAX_SAVED >> 20} MiB they are not kept, but computed again for the gradient."
    )


# ------------------------------------------------------------------------ refinement

RADIUS, SIZES = 0.25, (8, 16, 32, 64)
SQUARE = ((0.0, 0.0), (1.0, 1.0), (False, False))


def refined() -> str:
    """Tables of errors as the points of the integral get denser."""
    lines = [
        "## Refinement\n",
        (
            "One kernel of layers 16 and 16 in float64, v(y) = y_1 y_2 + cos(3 y_1), 200 queries "
            f"in the middle of the\nunit square, radius {RADIUS}. Errors are relative, in L2, to "
            "a quadrature in polar coordinates that\nhas all digits; the order is that of the "
            "last doubling, in the step h or in n^(-1/2). The\nreference's sum is told as its "
            "size over that on the coarsest grid: it has no limit.\n"
        ),
        "| | " + " | ".join(f"{n}^2 points" for n in SIZES) + " | order |",
        "|---|" + "---|" * (len(SIZES) + 1),
    ]
    if GNOBlock:
        sizes = [sum_of_theirs(n) for n in SIZES]
        lines.append(line("neuraloperator, sum, grid", [x / sizes[0] for x in sizes], "{:.1f}"))
    for name, way in REFINED.items():
        found = [way(n) for n in SIZES]
        order = math.log2(found[-2] / found[-1])
        lines.append(line(f"ours, {name}", found, "{:.1e}", f"{order:.1f}"))
    return "\n".join(lines)


def line(name: str, numbers: list[float], form: str, end: str = "") -> str:
    """A row."""
    return "| " + " | ".join((name, *(form.format(x) for x in numbers), end)) + " |"


def wave(y: Tensor) -> Tensor:
    """The function."""
    return (y[..., 0] * y[..., 1] + torch.cos(3 * y[..., 0]))[..., None]


def layer(mollifier: str, here: Side, reduction: str) -> Gno:
    """Ours, with the same weights each time."""
    torch.manual_seed(0)
    more = {"act": "tanh", "mollifier": mollifier, "reduction": reduction}
    return Gno(here, Side(), (4, 16, 16, 1), NeighbourRule(RADIUS), **more).double()


def queries() -> Tensor:
    """In the middle."""
    made = torch.Generator().manual_seed(1)
    return 0.3 + 0.4 * torch.rand(200, 2, dtype=torch.float64, generator=made)


def exact(net: Gno, mollifier: str) -> Tensor:
    """Gauss in r, equal angles."""
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(60))
    r, turn = RADIUS * (nodes + 1) / 2, torch.arange(96).double() * (2 * math.pi / 96)
    spots = torch.stack((r[:, None] * turn.cos(), r[:, None] * turn.sin()), -1)
    areas = (weights * r * RADIUS / 2 * (2 * math.pi / 96))[:, None].expand(60, 96)
    if mollifier != "none":
        areas = areas * kernel_integral_weight(mollifier, r)[:, None]
    x = queries()
    y = x[:, None] + spots.flatten(0, 1)
    k = nn.Sequential(net.first, *net.rest)(torch.cat((x[:, None].expand_as(y), y), -1))
    return torch.einsum("mnc,mnc,n->mc", k, wave(y), areas.flatten())


def kernel_integral_weight(mollifier: str, r: Tensor) -> Tensor:
    """What points at a distance count."""
    from opdsl.nn.points.integral.mollifier import MOLLIFIERS

    return MOLLIFIERS[mollifier]((r / RADIUS) ** 2)


@torch.no_grad()
def error(net: Gno, mollifier: str, found: Tensor, volume: float = 1.0) -> float:
    """Relative."""
    truth = exact(net, mollifier) / volume
    return ((found - truth).norm() / truth.norm()).item()


@torch.no_grad()
def on_a_grid(n: int, mollifier: str = "none", reduction: str = "integral") -> float:
    """With the trapezoidal rule, or a mean."""
    place = Coords(*SQUARE)
    net = layer(mollifier, Side(place, GridWeights(*SQUARE)), reduction)
    y = place(size=(n, n), like=torch.empty(0).double())
    found = net(wave(y), (200,), ((Geometry(queries()),),))[0]
    return error(net, mollifier, found, 1 if reduction == "integral" else math.pi * RADIUS**2)


@torch.no_grad()
def on_points(n: int, mollifier: str = "none", measure: str = "uniform") -> float:
    """Of random points."""
    net = layer(mollifier, Side(measure=measure), "integral")
    made = torch.Generator().manual_seed(n)
    y = torch.rand(n * n, 2, dtype=torch.float64, generator=made)
    net.rule = NeighbourRule(RADIUS, allow_isolated=True)
    found = net(wave(y)[None], (200,), ((Geometry(y),), (Geometry(queries()),)))[0]
    return error(net, mollifier, found)


@torch.no_grad()
def sum_of_theirs(n: int) -> float:
    """The size of neuraloperator's result on a grid."""
    integral_transform.segment_csr = added
    torch.manual_seed(0)
    made = GNOBlock(
        1,
        1,
        2,
        RADIUS,
        channel_mlp_layers=[16, 16],
        use_torch_scatter_reduce=False,
        use_open3d_neighbor_search=False,
    ).double()
    y = torch.cartesian_prod(*[torch.linspace(0, 1, n, dtype=torch.float64)] * 2)
    return made(y, queries(), wave(y)).norm().item()


REFINED = {
    "integral, grid": on_a_grid,
    "mean, grid": lambda n: on_a_grid(n, reduction="mean"),
    "integral, grid, quartic": lambda n: on_a_grid(n, "quartic"),
    "integral, grid, bump": lambda n: on_a_grid(n, "bump"),
    "integral, random points, uniform": on_points,
    "integral, random points, voronoi": lambda n: on_points(n, measure="voronoi"),
    "integral, random points, uniform, quartic": lambda n: on_points(n, "quartic"),
    "integral, random points, voronoi, quartic": lambda n: on_points(n, "quartic", "voronoi"),
}

if __name__ == "__main__":
    main()
