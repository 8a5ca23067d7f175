"""Discretisation convergence: does an operator with fixed weights tend to a limit under refinement?

E(N) = ||R_N G(a) - G(R_N a)|| / ||R_N G(a)||, where a is a smooth random function on the finest
grid and R_N takes its values at the points of the grid of N; the order is log2 E(N) / E(2N). The
weights are random, and both norms are means over several sets of them: a single one may have a mean
close to zero, and then a ratio that says nothing.

Source: Bartolucci et al. 2023, arXiv:2305.19913; Lanthaler et al. 2024, arXiv:2405.02221.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from opdsl.compiler import load
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Space
from opdsl.lower.module import lower
from opdsl.nn.sphere.harmonics import inverse_sht

DECAY = 3.0  # of the spectrum of an input: amplitudes |k|^-3, a function in H^s, s < 2 in the plane
SPHERE_DECAY = 2.0
POINTS = 64  # on an axis, where the error is judged
PIECE = 0.7  # of a period is what an axis with two ends sees, so that its ends differ

Fields = list[Tensor]
Run = Callable[[Fields], Fields]


@dataclass(frozen=True)
class Errors:
    """E at each resolution, by points on an axis (spacings, where both ends are points).

    Equiangular latitudes have both poles: 64 spacings are 65 latitudes and 128 longitudes.

    Attributes:
        at: E(N).
        varies: the part of ||G(a)|| that is left without the mean of each channel. Networks with
            random weights are nearly constant; E / varies is the error of what is not.
    """

    at: Mapping[int, float]
    varies: float

    def orders(self) -> tuple[float, ...]:
        """Between neighbours, the coarsest first."""
        found = sorted(self.at.items())
        pairs = itertools.pairwise(found)
        return tuple(math.log(a / b) / math.log(m / n) for (n, a), (m, b) in pairs)


@dataclass(frozen=True)
class Gate:
    """What is asked of an operator.

    Attributes:
        error: at 64 points on an axis, or at the finest grid measured if that has fewer.
        order: between the two finest grids measured.
        varying: the same as `error`, relative to the part of the result that varies: a stencil
            between wide layers hides behind its constants.
    """

    error: float
    order: float
    varying: float = 2e-2

    def opens(self, errors: Errors) -> bool:
        """Whether all are good enough."""
        error = errors.at[max(x for x in errors.at if x <= POINTS)]
        small = error <= self.error and error <= self.varying * errors.varies
        return small and errors.orders()[-1] >= self.order


@dataclass(frozen=True)
class Case:
    """How a spec is measured.

    Attributes:
        gate: what is asked of it.
        sizes: spacings on each axis of the grids that are compared.
        finest: those of the grid they are compared with, a multiple of all sizes; at least four
            times as many as the finest, or the order comes out too good.
        params: of the model, to keep it small.
        seeds: sets of weights.
        decay: of the spectrum of an input on a grid; each derivative in a model costs one.
    """

    gate: Gate
    sizes: tuple[int, ...] = (64, 128)
    finest: int = 512
    params: Mapping[str, object] = field(default_factory=dict)
    seeds: int = 3
    decay: float = DECAY

    def measure(self, program: str) -> Errors:
        """E of a program."""
        graph = load(program, **self.params)
        return measure(lambda: runner(lower(graph)), graph, self)


def measure(make: Callable[[], Run], graph: Graph, case: Case) -> Errors:
    """E of an operator between the functions of a graph, in float64.

    Args:
        make: the operator with fresh weights.
        graph: says what goes in and comes out.
        case: where and how often.
    """
    gaps, norms = dict.fromkeys(case.sizes, 0.0), dict.fromkeys(case.sizes, 0.0)
    varying = constant = 0.0
    for seed in range(case.seeds):
        torch.manual_seed(seed)
        run = make()
        torch.manual_seed(seed)  # the same input for every operator, whatever its weights took
        inputs = [smooth(x.space, case.finest, case.decay) for x in graph.inputs]
        whole = run(inputs)
        varying += sum(square(x - mean(x)) for x in whole)
        constant += sum(square(mean(x)) for x in whole)
        for n in case.sizes:
            gap, norm = compare(run, graph, inputs, whole, divided(case.finest, n))
            gaps[n] += gap
            norms[n] += norm
    varies = math.sqrt(varying / (varying + constant))
    return Errors({n: math.sqrt(gaps[n] / norms[n]) for n in case.sizes}, varies)


def square(x: Tensor) -> float:
    """The mean square."""
    return float(x.square().mean())


def mean(x: Tensor) -> Tensor:
    """Of each channel, over the points."""
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def runner(module: nn.Module) -> Run:
    """A module with its weights as they are, in float64."""
    module.double().eval()

    def run(inputs: Fields) -> Fields:
        with torch.no_grad():
            found = module(*inputs)
        return [found] if isinstance(found, Tensor) else list(found.values())

    return run


def compare(run: Run, graph: Graph, inputs: Fields, whole: Fields, k: int) -> tuple[float, float]:
    """||R G(a) - G(R a)||^2 and ||R G(a)||^2, where R takes every k-th point."""
    taken_in = [taken(x, p.space, k) for x, p in zip(inputs, graph.inputs, strict=True)]
    wanted = [taken(x, p.space, k) for x, p in zip(whole, graph.outputs, strict=True)]
    here = run(taken_in)
    gap = sum(square(a - b) for a, b in zip(here, wanted, strict=True))
    return gap, sum(square(b) for b in wanted)


def divided(finest: int, n: int) -> int:
    """Every how many points are taken."""
    assert finest % n == 0, f"{finest} is no multiple of {n}"
    return finest // n


def taken(x: Tensor, space: Space, k: int) -> Tensor:
    """Every k-th point on each axis; on axes with both ends, both stay."""
    return x[(..., *(slice(None, None, k),) * space.domain.dims)]


def smooth(space: Space, spacings: int, decay: float = DECAY) -> Tensor:
    """A random function, (1, channels, *grid), float64, of mean square one."""
    sphere = space.domain.kind == "sphere"
    u = on_sphere(space, spacings) if sphere else on_grid(space, spacings, decay)
    axes = tuple(range(1, u.ndim))
    return (u / u.square().mean(dim=axes, keepdim=True).sqrt())[None]


def on_grid(space: Space, spacings: int, decay: float) -> Tensor:
    """Amplitudes |k|^-decay."""
    periodic = space.domain.periodic
    # at `lower` there are as many points as spacings, as on a periodic axis
    points = tuple(spacings + (x.points == "both") for x in space.domain.axes)
    modes = (min(points) - 1) // 2
    ks = torch.arange(-modes, modes + 1.0, dtype=torch.float64)
    size = torch.stack(torch.meshgrid(*(ks,) * len(points), indexing="ij")).square().sum(0).sqrt()
    noise = torch.randn(space.channels, *size.shape, 2, dtype=torch.float64)
    z = torch.view_as_complex(noise) * size.clamp(min=1.0) ** -decay
    for n, closed in zip(points, periodic, strict=True):
        x = torch.arange(n, dtype=torch.float64) / spacings * (1 if closed else PIECE)
        z = torch.tensordot(z, torch.exp(2j * torch.pi * ks[:, None] * x), ([1], [0]))
    return z.real


def on_sphere(space: Space, spacings: int) -> Tensor:
    """Amplitudes l^-SPHERE_DECAY; twice as many longitudes as spacings of latitudes."""
    l = torch.arange(spacings // 2, dtype=torch.float64)  # noqa: E741  the degree
    noise = torch.randn(1, len(l), len(l), space.channels, 2, dtype=torch.float64)
    kept = torch.ones(len(l), len(l), dtype=torch.float64).tril()  # orders up to the degree
    size = kept * l.clamp(min=1.0)[:, None] ** -SPHERE_DECAY
    z = torch.view_as_complex(noise) * size[..., None]
    sampling = space.domain.sampling or "equiangular"
    return inverse_sht(z, (spacings + 1, 2 * spacings), sampling)[0].movedim(-1, 0)


SPECTRAL = Gate(1e-5, 2.5)  # no coordinates, no ends
COORDINATES = Gate(5e-4, 1.0)  # a coordinate jumps where its axis closes
PADDED = Gate(1e-2, 1.0, varying=0.2)  # a function jumps to zero at its ends
HALF_WAVES = Gate(2e-3, 1.7)  # no jump, but a function with a slope at its ends
SPHERE = Gate(1e-4, 2.0)
CODA = Gate(1e-4, 2.5)
TOKENS = {"width": 4, "token": 2, "depth": 2, "modes": 6, "mark": 2}

CASES = {
    "fno_burgers": Case(SPECTRAL, (64, 128), 1024),
    # with coordinates and walls, but without a jump
    "fno_continued": Case(Gate(1e-5, 2.0), (32, 64), 256, {"width": 8, "modes": 8}),
    "fno_darcy": Case(PADDED, (32, 64), 256, {"width": 8, "modes": 8}),
    # sines of a function that does not vanish at a wall
    "darcy": Case(HALF_WAVES, (32, 64), 256, {"width": 8}),
    "darcy_small": Case(HALF_WAVES, (32, 64), 256, {"width": 8}),
    "poisson": Case(HALF_WAVES, (32, 64), 256, {"width": 8, "modes": 8}),
    "wave": Case(HALF_WAVES, (32, 64), 256, {"width": 8, "modes": 8}),
    "burgers_walls": Case(HALF_WAVES, (64, 128), 1024, {"width": 8, "modes": 8}),
    # cosines of an input that has a slope at the walls, which the data do not have
    "reaction_diffusion": Case(HALF_WAVES, (32, 64), 256, {"width": 8}),
    "fno_darcy_small": Case(COORDINATES, (32, 64), 256, {"width": 16}),
    "tfno_darcy": Case(COORDINATES, (32, 64), 256, {"width": 16}),
    # 64 points are 16 on its coarsest level, where it bends too
    "uno_darcy": Case(Gate(5e-5, 2.5), (64, 128), 512, {"width": 4}),
    # at 32 points
    "fno_3d": Case(Gate(5e-5, 2.5), (16, 32), 64, {"width": 6, "modes": 4}),
    # at 40 points
    "fno_navier_stokes": Case(
        Gate(2e-2, 1.0, varying=0.2), (20, 40), 80, {"width": 6, "depth": 2, "modes": 4}, 2
    ),
    # at 18 points
    "fno_4d": Case(Gate(1e-3, 2.5), (9, 18), 36, {"width": 4, "modes": 2, "depth": 2}, 2),
    # its norms divide by a deviation that is small for random weights
    "coda_no": Case(CODA, (32, 64), 256, TOKENS),
    "coda_no_heat": Case(CODA, (32, 64), 256, TOKENS),
    "sfno_swe": Case(SPHERE, (32, 64), 256, {"width": 8}),
    "uqno_darcy": Case(COORDINATES, (32, 64), 256),
    "uqno_darcy_point": Case(COORDINATES, (32, 64), 256),
    # nearly all of its result varies: no constants hide the error
    "afno": Case(Gate(5e-5, 2.5), (32, 64), 256, {"width": 8}),
    # each layer takes a derivative, so the input must have four, and a stencil is of first order
    "local_no": Case(Gate(5e-3, 1.0), (32, 64), 256, {"width": 8}, decay=8.0),
    "f_fno": Case(SPECTRAL, (32, 64), 256, {"width": 8}),
    "rno_burgers": Case(COORDINATES, (32, 64), 512, {"width": 8}),
}

PLANE = """
edition 2026

from std.fourier import FNOBlock
from std.pointwise import Lift, Project

model Plane {{
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 25)
  input a : D -> R^1
  output u : D -> R^4

  u = {first}
    |> Lift(out = 8)
    |> repeat 3 {{ FNOBlock(modes = 12) }}
    |> Project(out = 4, hidden = 16)
}}
"""
PLANES = {
    "no coordinates": PLANE.format(first="a"),
    "coordinates": PLANE.format(first="concat(a, coords(D))"),
    "coordinates on a circle": PLANE.format(first="concat(a, coords(D, kind = circle))"),
    "a trained series": PLANE.format(first="concat(a, series(D, out = 2, modes = 4))"),
}
WIDE_STENCILS = (
    PLANES["no coordinates"]
    .replace("from std.fourier import FNOBlock\n", "")
    .replace("FNOBlock(modes = 12)", "conv(out = 8) |> gelu()")
)
STENCILS = """
edition 2026

model Stencils {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 25)
  input a : D -> R^1
  output u : D -> R^4

  u = a |> repeat 3 { conv(out = 16) |> gelu() } |> conv(out = 4)
}
"""
