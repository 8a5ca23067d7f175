"""Function spaces: domains with a symbolic resolution, and `D -> R^c`.

Spaces compare by declaration. Two domains are equal only if they come from one declaration by the
same steps: two grids that happen to have 64 points each are different.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from opdsl.ir.dims import Count, Dim, Poly, product
from opdsl.ir.steps import Coarsen, Extend, Step

Boundary = Literal["periodic", "dirichlet", "neumann", "none"]
Sampling = Literal["gauss_legendre", "lobatto", "equiangular"]
Measure = Literal["given", "voronoi", "density", "uniform"]
DomainKind = Literal[
    "grid",
    "interval",
    "points",
    "graph",
    "mesh",
    "sphere",
    "product",
    "spectrum",
    "vector",
    "any",
]
# how a message calls a domain of each kind; the words a declaration can bound a domain by
KINDS: dict[str, str] = {
    "grid": "a regular grid",
    "interval": "an interval",
    "points": "points",
    "graph": "a graph",
    "mesh": "a mesh",
    "sphere": "a sphere",
    "product": "a product of domains",
    "spectrum": "a set of Fourier modes",
    "vector": "a vector, one for each sample",
    "any": "any domain",
}
BOUNDS = ("any", "grid", "interval", "points", "graph", "mesh", "sphere", "product")
# a domain of the kind on the left has all that a bound on the right asks for
ALSO: dict[str, frozenset[str]] = {
    "interval": frozenset({"grid"}),
    "mesh": frozenset({"graph", "points"}),
    "graph": frozenset({"points"}),
}
# what the points of a domain stand for in integrals unless it says otherwise
MEASURED: dict[str, Measure] = {"points": "uniform", "graph": "uniform", "mesh": "given"}
REGULAR = frozenset({"grid", "interval"})
FROZEN = ConfigDict(frozen=True, extra="forbid")


class Axis(BaseModel):
    """One axis of a grid and what the program promises about its number of points.

    Attributes:
        lo, hi: the ends of the interval, in the program's unit of length.
        boundary: `periodic` axes leave out `hi`, all others include both ends.
        min, max, multiple_of: the resolutions that the program promises to accept.
        fixed: the only resolution that is accepted.
        size: the resolution that the program gives to a latent grid.
    """

    model_config = FROZEN

    name: str
    lo: float = 0.0
    hi: float = 1.0
    boundary: Boundary = "none"
    min: int = 1
    max: int | None = None
    multiple_of: int = 1
    fixed: int | None = None
    size: int | None = None

    @property
    def periodic(self) -> bool:
        """Whether the axis closes on itself."""
        return self.boundary == "periodic"

    @property
    def least(self) -> int:
        """The smallest resolution that is promised to work."""
        pinned = self.fixed or self.size
        return pinned or -(-self.min // self.multiple_of) * self.multiple_of

    @property
    def pinned(self) -> bool:
        """Whether one resolution only is possible."""
        return self.fixed is not None or self.size is not None


class Domain(BaseModel):
    """A set on which functions live.

    Points, graphs and meshes have one axis, `points`, and a sphere two, so that every declared
    domain has sampled axes. A vector is a function on a domain of one point, without axes.

    Attributes:
        name: the declaration it comes from; of a product the names of its factors.
        axes: the axes as declared.
        steps: from the declaration to this domain.
        ambient: the dimension of the space in which points lie.
        geometry: whether all samples have the same points.
        measure: of points, where their quadrature weights come from if a geometry brings neither
            weights nor cells.
        period: of points, for each coordinate the length after which space repeats, if it does.
        sampling: where a sphere has its latitudes.
        factors: of a product its parts; of a spectrum the one domain whose modes it holds.
        modes: of a spectrum, the greatest frequency on each axis.
        halved: of a spectrum, whether the last axis has frequencies from 0 on only, since the
            others are conjugates (coefficients of real functions).
    """

    model_config = FROZEN

    kind: DomainKind = "grid"
    ambient: int | None = None
    geometry: Literal["shared", "per_sample"] = "shared"
    measure: Measure | None = Field(default_factory=lambda data: MEASURED.get(data["kind"]))
    period: tuple[float | None, ...] | None = None
    sampling: Sampling | None = None
    name: str
    axes: tuple[Axis, ...]
    steps: tuple[Step, ...] = ()
    factors: tuple[Domain, ...] = ()
    modes: tuple[int, ...] | None = None
    halved: bool = True

    # ------------------------------------------------------------- made from others

    @staticmethod
    def product(parts: tuple[Domain, ...]) -> Domain:
        """`X * T`: all pairs of points; the axes of all factors, in order."""
        flat = tuple(y for x in parts for y in (x.factors if x.kind == "product" else (x,)))
        return Domain(
            kind="product",
            name=" * ".join(x.name for x in flat),
            axes=tuple(a for x in flat for a in x.axes),
            factors=flat,
        )

    def spectrum(self, modes: tuple[int, ...], *, halved: bool = True) -> Domain:
        """`spectrum(self, modes)`: the Fourier modes |k| <= m of this grid."""
        return Domain(
            kind="spectrum",
            name=f"spectrum({self.name})",
            axes=self.axes,
            factors=(self,),
            modes=modes,
            halved=halved,
        )

    def coarsened(self, factor: int) -> Domain:
        """`self / factor`; (D/2)/2 is D/4, (X * T)/2 is X/2 * T/2."""
        if factor == 1:
            return self
        if self.kind == "product":
            return Domain.product(tuple(x.coarsened(factor) for x in self.factors))
        last = self.steps[-1] if self.steps else None
        if isinstance(last, Coarsen):
            merged = Coarsen(factor=last.factor * factor)
            return self.reached_by(*self.steps[:-1], merged)
        return self.reached_by(*self.steps, Coarsen(factor=factor))

    def extended(self, step: Extend) -> Domain:
        """The domain `step.name` around this one."""
        return self.reached_by(*self.steps, step)

    def reached_by(self, *steps: Step) -> Domain:
        """Replace the steps that lead to this domain from its declaration."""
        return self.model_copy(update={"steps": steps})

    # ------------------------------------------------------------------ what it is

    @property
    def dims(self) -> int:
        """The number of axes."""
        return len(self.axes)

    @property
    def root(self) -> Domain:
        """Of one factor, the declared domain that this one comes from."""
        return self.reached_by()

    @property
    def declared(self) -> tuple[Domain, ...]:
        """The declared domains that this one comes from."""
        if self.factors:
            return tuple(y for x in self.factors for y in x.declared)
        return () if self.kind == "vector" else (self.root,)

    @property
    def parts(self) -> tuple[Domain, ...]:
        """The factors of a product, the domain itself otherwise."""
        return self.factors if self.kind == "product" else (self,)

    @property
    def regular(self) -> bool:
        """Whether it is a regular grid: a grid, an interval, a product of these."""
        return all(x.kind in REGULAR for x in self.parts)

    @property
    def scattered(self) -> bool:
        """Whether its points have coordinates one by one."""
        return self.kind in {"points", "graph", "mesh"}

    @property
    def periodic(self) -> tuple[bool, ...]:
        """For each axis, whether it closes on itself; an extension does by construction."""
        if self.kind == "product":
            return tuple(y for x in self.factors for y in x.periodic)
        extended = any(isinstance(x, Extend) for x in self.steps)
        return tuple(extended or x.periodic for x in self.axes)

    @property
    def label(self) -> str:
        """How the program names it: `D`, `D/2`, `X * T`, or the name of an extension."""
        if self.modes is not None:
            shown = self.modes[0] if len(set(self.modes)) == 1 else self.modes
            return f"spectrum({self.factors[0]}, {shown})"
        if self.kind == "product":
            return " * ".join(x.label for x in self.factors)
        label = self.name
        for step in self.steps:
            label = f"{label}/{step.factor}" if isinstance(step, Coarsen) else step.name
        return label

    def satisfies(self, bound: str) -> bool:
        """Whether it has all that a domain of the kind `bound` has."""
        if bound == "grid" and self.kind == "product":
            return self.regular
        return bound in ("any", self.kind) or bound in ALSO.get(self.kind, ())

    def part(self, axis: int) -> tuple[Domain, int]:
        """The factor that has this axis, and which of its axes it is."""
        for x in self.parts:
            if axis < x.dims:
                return x, axis
            axis -= x.dims
        raise IndexError(axis)

    def extension_over(self, inner: Domain) -> tuple[Extend | None, ...] | None:
        """For each part the step that makes it from that of `inner`, None where it is the same.

        None in all if this domain is no extension of `inner`.
        """
        if len(self.parts) != len(inner.parts):
            return None
        pairs = list(zip(self.parts, inner.parts, strict=True))
        steps = tuple(x.step_over(y) for x, y in pairs)
        sound = all(s is not None or x == y for s, (x, y) in zip(steps, pairs, strict=True))
        return steps if sound and any(steps) else None

    def step_over(self, inner: Domain) -> Extend | None:
        """The step that makes this domain from `inner`, if it is one extension."""
        if self.name != inner.name or self.steps[:-1] != inner.steps or not self.steps:
            return None
        last = self.steps[-1]
        return last if isinstance(last, Extend) else None

    # ------------------------------------------------------------------ how large

    def at(self, roots: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Points on each axis where the declared domains have these resolutions."""
        if self.modes is not None:
            return self.frequencies
        return tuple(n for x in self.parts if x.axes for n in x.points(roots[x.name]))

    @property
    def frequencies(self) -> tuple[int, ...]:
        """Of a spectrum, how many frequencies it has on each axis."""
        assert self.modes is not None
        full = tuple(2 * m + 1 for m in self.modes)
        return (*full[:-1], self.modes[-1] + 1) if self.halved else full

    def points(self, root: tuple[int, ...]) -> tuple[int, ...]:
        """Points on each axis where the declared domain, of one factor, has `root` points."""
        return tuple(self.points_on(i, n) for i, n in enumerate(root))

    def points_on(self, axis: int, n: int) -> int:
        """Points on an axis where the declared domain has `n`."""
        part, local = self.part(axis)
        periodic = part.axes[local].periodic
        for step in part.steps:
            if isinstance(step, Coarsen):
                n = n // step.factor
            else:
                n, periodic = step.points(n, periodic=periodic, axis=local), True
        return n

    def least_root(self, axis: int, needed: int) -> int:
        """The smallest resolution of the declared domain that gives `needed` points here."""
        # points_on grows with n and every step at most divides, so the search is short
        high = max(1, needed)
        while self.points_on(axis, high) < needed:
            high *= 2
        low = 1
        while low < high:
            middle = (low + high) // 2
            enough = self.points_on(axis, middle) >= needed
            low, high = (low, middle) if enough else (middle + 1, high)
        return low

    def root_of(self, axis: int, n: int) -> int:
        """The resolution of the declared domain that has `n` points here.

        Divisions round down, so there may be several: it is the smallest one that the program
        promises, or the smallest of all if it promises none of them.
        """
        part, local = self.part(axis)
        promised, low = part.axes[local], self.least_root(axis, n)
        step = promised.multiple_of
        wanted = -(-max(low, promised.least) // step) * step
        return wanted if self.points_on(axis, wanted) == n else low

    def atom(self, axis: int) -> str:
        """The text of the number of points on an axis: `D.x`, `(D.x//2)`, `E.x`."""
        part, local = self.part(axis)
        text = f"{part.name}.{part.axes[local].name}"
        for step in part.steps:
            if isinstance(step, Extend):
                text = f"{step.name}.{part.axes[local].name}"
            else:
                text = f"({text}//{step.factor})"
        return text

    def volume(self) -> Poly:
        """The number of points."""
        if self.modes is not None:
            return product(tuple(Poly.of(n) for n in self.frequencies))
        return product(tuple(Poly.atom(self.atom(i)) for i in range(self.dims)))

    def __str__(self) -> str:
        return self.label


VECTOR = Domain(kind="vector", name="", axes=())


class Space(BaseModel):
    """`D -> R^c`: functions from a domain to `channels` numbers.

    Attributes:
        field: of real or of complex numbers.
        components: the names of the channels, where the program names them.
    """

    model_config = FROZEN

    domain: Domain
    channels: Count
    field: Literal["R", "C"] = "R"
    components: tuple[str, ...] | None = None

    @property
    def complex(self) -> bool:
        """Whether the values are complex numbers."""
        return self.field == "C"

    @property
    def width(self) -> int:
        """Real numbers in a number: 2 for complex ones."""
        return 2 if self.complex else 1

    def with_channels(self, channels: Dim) -> Space:
        """Replace the channels by `channels` nameless ones."""
        return Space(domain=self.domain, channels=channels, field=self.field)

    def on(self, domain: Domain) -> Space:
        """Replace the domain."""
        return self.model_copy(update={"domain": domain})

    def numbers(self) -> Poly:
        """How many real numbers one sample of such a function has."""
        return self.domain.volume() * (self.channels * self.width)

    def __str__(self) -> str:
        power = f"{self.field}^{power_text(self.channels)}"
        return power if self.domain.kind == "vector" else f"{self.domain} -> {power}"


def power_text(channels: int | Poly) -> str:
    """`64`, `c`, or `(2 * c)` for a sum or product of symbols."""
    text = str(channels)
    return text if text.isalnum() else f"({text})"
