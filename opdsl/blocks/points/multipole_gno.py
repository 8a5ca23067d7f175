"""The block `multipole_gno`: a kernel integral over all distances, far ones on coarse levels."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat

from opdsl.blocks.points._geometry import declares_period
from opdsl.blocks.pointwise.apply import TRANSCENDENTAL, ActivationName
from opdsl.ir.block import BYTES, Block, Cost, Refusal, SideInput
from opdsl.ir.dims import Poly, PositiveCount, decided
from opdsl.ir.spaces import KINDS, Domain, Space

if TYPE_CHECKING:
    from torch import nn

    from opdsl.nn.points.integral.multipole import MultipoleLevel

NEIGHBOURS = 16  # of each point, assumed in `cost`: the data decide how many there are


class MultipoleGno(Block):
    """w = K_11 v + K_12 v'_2: a kernel integral whose far part acts on coarse levels.

    v : P -> R^n gives w : P -> R^n on points, graphs and meshes. Level 1 consists of the points of
    v. Downwards v_l+1 = s(K_l+1,l v_l), upwards v'_l = s(W_l v_l + K_ll v_l + K_l,l+1 v'_l+1), from
    the coarsest level, which has no next one. Each K is a kernel integral like that of `gno`, with
    a network of its own, and s is `between`. With one level this is `gno`. If s is the identity, w
    is linear in v, a sum of products such as K_12 K_23 K_33 K_32 K_21 v: kernels between far points
    have low rank.

    Neighbours on level l are within radius * growth^(l-1), those between two levels within the
    radius of the coarser one. A level is a lattice with cells of width radius * growth^(l-1) /
    per_radius: a coarse point is the centre of mass of the points in a cell, and its weight is the
    sum of theirs, or their number. Levels therefore depend on the geometry and not on the number of
    points, and converge as points become denser: the edge of a cell is resolved up to the distance
    of the points, and the error falls like that distance or faster. They are computed once as long
    as the geometry stays equal. Derivatives with respect to coordinates account for the points and
    not for the centres.

    A level of n points has about n * per_radius^d pairs. If the radius falls as points become
    denser, with one more level each time, the cost of all distances is proportional to the number
    of points, where one radius over all of them costs its square. Fitted to a potential on 256
    points in 300 steps this block has an error of 0.31, `gno` with as many pairs and parameters
    0.56 (benchmarks/far_fields.py, one seed).

    ```op
    edition 2026

    model Potential {
      domain P = points(2, geometry = per_sample, measure = density)
      input charge : P -> R^1
      output potential : P -> R^1

      potential = concat(charge, coords(P))
        |> linear(out = 16)
        |> multipole_gno(levels = 4, radius = 0.1, kernel = [32])
        |> mlp(widths = [32, 1])
    }
    ```

    Attributes:
        radius: greatest distance of neighbours on the finest level, in the unit of the coordinates.
        levels: number of levels, the points themselves included.
        growth: factor of the radius and of the cells from level to level, > 1.
        per_radius: number of cells in a radius; at least the root of the number of coordinates.
        kernel: widths of the hidden layers of each kernel.
        act: activation between the layers of a kernel, see `apply`.
        between: s, the activation on coarse levels, see `apply`.
        matrix: whether kernels are `diagonal` or `full` matrices.
        embedding: of coordinates for the kernels: none, transformer or nerf.
        frequencies: number of frequencies of the embedding for each coordinate.
        reduction: integral or mean over the neighbours, see `gno`.
        wrap: whether distances are periodic; by default where the domain declares a period. Cells
            fill a period in any case.

    Source: Li et al. 2020, arXiv:2006.09535, section 3 (the V-cycle); lattices instead of points
        drawn at random, which have no limit, and no state of coarse levels from cycle to cycle.
    """

    ragged = "own"
    kinds = frozenset({"points", "graph", "mesh"})
    drawn_as = "integral"
    samples = (
        {"inputs": ("P -> R^2",), "radius": 0.4, "kernel": (4,), "act": "tanh"},
        {
            "inputs": ("P -> R^2",),
            "radius": 0.3,
            "levels": 2,
            "growth": 1.5,
            "per_radius": 2.5,
            "kernel": (3, 4),
            "between": "identity",
            "matrix": "full",
            "embedding": "nerf",
            "frequencies": 2,
            "reduction": "mean",
        },
        {"inputs": ("P -> R^3",), "radius": 0.5, "levels": 1, "kernel": (3,)},
    )

    radius: PositiveFloat = Field(description="how far neighbours are on the finest level")
    levels: PositiveCount = Field(default=3, description="how many, with the points themselves")
    growth: float = Field(default=2.0, gt=1, description="of the radius from level to level")
    per_radius: PositiveFloat = Field(default=2.0, description="cells in a radius")
    kernel: tuple[PositiveCount, ...] = Field(
        default=(64, 64), min_length=1, description="widths of the hidden layers of each kernel"
    )
    act: ActivationName = Field(default="gelu", description="between the layers of a kernel")
    between: ActivationName = Field(default="gelu", description="on coarse levels")
    matrix: Literal["diagonal", "full"] = Field(default="diagonal", description="of the kernels")
    embedding: Literal["none", "transformer", "nerf"] = Field(
        default="none", description="of coordinates"
    )
    frequencies: PositiveCount = Field(default=32, description="of the embedding")
    reduction: Literal["integral", "mean"] = Field(
        default="integral", description="over the neighbours"
    )
    wrap: bool | None = Field(default=None, description="whether distances go around periods")

    def infer(self, x: Space) -> Space:
        """Return the space of v without names of channels."""
        domain = x.domain
        if not (domain.scattered and domain.ambient):
            message = "`multipole_gno` is defined on points, graphs and meshes only"
            raise Refusal("OP0301", message, f"this is {KINDS[domain.kind]}", at=0)
        if self.per_radius < math.sqrt(domain.ambient):
            least = math.ceil(10 * math.sqrt(domain.ambient)) / 10
            raise Refusal(
                "OP0208",
                f"a cell is longer across than the radius, with {self.per_radius:g} of them in it",
                "a point may be farther from the centre of its own cell",
                at="per_radius",
                helps=(f"write at least {least}, or leave it out",),
            )
        if self._wraps(domain):
            self._check_wrapping(domain)
        return x.with_channels(x.channels)

    def _wraps(self, domain: Domain) -> bool:
        return declares_period(domain) if self.wrap is None else self.wrap

    def _check_wrapping(self, domain: Domain) -> None:
        least = min((p for p in domain.period or () if p), default=None)
        if least is None:
            raise Refusal(
                "OP0208",
                "`wrap` needs to know the period of space",
                f"`{domain}` does not tell it",
                at="wrap",
                helps=("declare points with `period = ...`",),
            )
        widest = self.radius * self.growth ** (decided(self.levels) - 1)
        if 2 * widest > least:
            raise Refusal(
                "OP0208",
                f"the coarsest radius is {widest:g}, and around the period of {least:g} a point"
                " is met twice in it",
                at="levels",
                helps=(
                    "take fewer levels, or a smaller radius",
                    "`wrap = false` does not go around",
                ),
            )

    def side_inputs(self, x: Space) -> tuple[SideInput, ...]:
        """Return the coordinates of the points."""
        return (SideInput(x.domain.name, "coordinates", x.domain),)

    def integrates(self, x: Space) -> tuple[Domain, ...]:
        """Return the domain of v for `reduction = integral`."""
        return (x.domain,) if self.reduction == "integral" else ()

    def _widths(self, x: Space) -> tuple[int, ...]:
        d = x.domain.ambient or 0
        numbers = d if self.embedding == "none" else 2 * self.frequencies * d
        c = decided(x.channels)
        matrix_entries = c**2 if self.matrix == "full" else c
        return (decided(2 * numbers), *map(decided, self.kernel), matrix_entries)

    def cost(self, x: Space) -> Cost:
        """Count the kernels at 16 neighbours of each point on its level, and at 16 on the next.

        Work on coarse levels is not counted: the geometry decides how many points they have.
        """
        widths, c = self._widths(x), x.channels
        kernel_params = sum(a * b + b for a, b in pairwise(widths))
        params = (3 * self.levels - 2) * kernel_params + (self.levels - 1) * c * c
        at_pairs = sum(2 * a * b for a, b in pairwise(self.kernel)) + self.kernel[0]
        at_pairs += TRANSCENDENTAL * sum(self.kernel)
        full = self.matrix == "full"
        at_pairs += 2 * c * self.kernel[-1] if full else 2 * self.kernel[-1] * c + 2 * c
        at_points = 2 * self.kernel[0] * widths[0]
        kernels = 3 if self.levels > 1 else 1
        behind = 2 * self.kernel[-1] * widths[-1] if full else 0
        flops: Poly = x.domain.volume() * (kernels * (NEIGHBOURS * at_pairs + at_points) + behind)
        return Cost(decided(params), flops, x.numbers() * BYTES)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.points.integral.multipole.Multipole`."""
        from opdsl.nn.layers.embedding import Sinusoids
        from opdsl.nn.points.integral import multipole
        from opdsl.nn.points.integral.gno import Side

        domain = x.domain
        return multipole.Multipole(
            Side(measure=domain.measure or "uniform", period=domain.period),
            self._levels(),
            decided(x.channels),
            self._widths(x),
            act=self.act,
            between=self.between,
            full=self.matrix == "full",
            embedding=Sinusoids(self.embedding, decided(self.frequencies), 10000.0),
            reduction=self.reduction,
            wrap=self._wraps(domain),
        )

    def _levels(self) -> tuple[MultipoleLevel, ...]:
        from opdsl.nn.points.integral.multipole import MultipoleLevel

        radii = [self.radius * self.growth**i for i in range(decided(self.levels))]
        spacings = [0.0, *(r / self.per_radius for r in radii[1:])]
        return tuple(MultipoleLevel(r, s) for r, s in zip(radii, spacings, strict=True))
