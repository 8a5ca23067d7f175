"""Function spaces: domains with a symbolic resolution, and `D -> R^c`.

Spaces compare by declaration. Two domains are equal only if they come from one declaration by the
same steps: two grids that happen to have 64 points each are different.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

from opdsl.ir.axes import Axis
from opdsl.ir.dims import Count, Dim, Poly, product
from opdsl.ir.steps import Coarsen, Extend, Step
from opdsl.sampling import GridSampling, ring, samplings_of

Sampling = Literal["gauss_legendre", "lobatto", "equiangular", "centres"]
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
# a domain of the kind on the left also satisfies the bounds on the right
ALSO: dict[str, frozenset[str]] = {
    "interval": frozenset({"grid"}),
    "mesh": frozenset({"graph", "points"}),
    "graph": frozenset({"points"}),
}
# the source of the quadrature weights of each kind of domain, unless the declaration names another
MEASURED: dict[str, Measure] = {"points": "uniform", "graph": "uniform", "mesh": "given"}
REGULAR = frozenset({"grid", "interval"})
FROZEN = ConfigDict(frozen=True, extra="forbid")


class Domain(BaseModel):
    """A set on which functions live.

    Points, graphs and meshes have one axis, `points`, and a sphere two, so that every declared
    domain has sampled axes. A vector is a function on a domain of one point, without axes.

    Attributes:
        name: the name of the declaration; for a product, the names of its factors.
        axes: the axes as declared.
        steps: the steps that lead from the declaration to this domain.
        ambient: the dimension of the space in which points lie.
        geometry: whether all samples have the same points.
        measure: for points, the source of their quadrature weights if a geometry contains neither
            weights nor cells.
        period: for points, the length after which space repeats along each coordinate, or None.
        sampling: the rule that places the latitudes of a sphere.
        factors: for a product its factors; for a spectrum the one domain whose modes it contains.
        modes: for a spectrum, the greatest frequency on each axis.
        halved: for a spectrum, whether the last axis has frequencies from 0 on only, since the
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
        """Build `X * T`, all pairs of points, with the axes of all factors in order."""
        flat = tuple(y for x in parts for y in (x.factors if x.kind == "product" else (x,)))
        return Domain(
            kind="product",
            name=" * ".join(x.name for x in flat),
            axes=tuple(a for x in flat for a in x.axes),
            factors=flat,
        )

    def spectrum(self, modes: tuple[int, ...], *, halved: bool = True) -> Domain:
        """Build `spectrum(self, modes)`, the Fourier modes |k| <= m of this grid."""
        return Domain(
            kind="spectrum",
            name=f"spectrum({self.name})",
            axes=self.axes,
            factors=(self,),
            modes=modes,
            halved=halved,
        )

    def coarsened(self, factor: int) -> Domain:
        """Build `self / factor`; (D/2)/2 is D/4, and (X * T)/2 is X/2 * T/2."""
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
        """Build the domain `step.name`, an extension of this one."""
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
        """The declared domain that this one comes from; a product has several, see `declared`."""
        return self.reached_by()

    @property
    def declared(self) -> tuple[Domain, ...]:
        """The declared domains that this one comes from."""
        if self.factors:
            return tuple(y for x in self.factors for y in x.declared)
        return () if self.kind == "vector" else (self.root,)

    @property
    def parts(self) -> tuple[Domain, ...]:
        """The factors of a product; otherwise the domain itself."""
        return self.factors if self.kind == "product" else (self,)

    @property
    def regular(self) -> bool:
        """Whether the domain is a regular grid: a grid, an interval, or a product of these."""
        return all(x.kind in REGULAR for x in self.parts)

    @property
    def scattered(self) -> bool:
        """Whether each point of the domain has coordinates of its own."""
        return self.kind in {"points", "graph", "mesh"}

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Whether each axis closes on itself; those of an extension do by construction."""
        if self.kind == "product":
            return tuple(y for x in self.factors for y in x.periodic)
        extended = any(isinstance(x, Extend) for x in self.steps)
        return tuple(extended or x.periodic for x in self.axes)

    @property
    def samplings(self) -> tuple[GridSampling, ...]:
        """Where the points of each axis are; those of an extension lie on a ring."""
        if self.kind == "product":
            return tuple(y for x in self.factors for y in x.samplings)
        extended = any(isinstance(x, Extend) for x in self.steps)
        return tuple(ring(x.points) if extended else x.points for x in self.axes)

    @property
    def declared_samplings(self) -> tuple[GridSampling, ...] | None:
        """`samplings`; None if that of each axis is the default."""
        words = self.samplings
        return None if words == samplings_of(self.periodic) else words

    @property
    def label(self) -> str:
        """The name of the domain in the program: `D`, `D/2`, `X * T`, or that of an extension."""
        if self.modes is not None:
            modes = self.modes[0] if len(set(self.modes)) == 1 else self.modes
            return f"spectrum({self.factors[0]}, {modes})"
        if self.kind == "product":
            return " * ".join(x.label for x in self.factors)
        label = self.name
        for step in self.steps:
            label = f"{label}/{step.factor}" if isinstance(step, Coarsen) else step.name
        return label

    def satisfies(self, bound: str) -> bool:
        """Return whether the domain can be used where one of the kind `bound` is needed."""
        if bound == "grid" and self.kind == "product":
            return self.regular
        return bound in ("any", self.kind) or bound in ALSO.get(self.kind, ())

    def part(self, axis: int) -> tuple[Domain, int]:
        """Return the factor that has this axis, and the index of the axis in it."""
        for x in self.parts:
            if axis < x.dims:
                return x, axis
            axis -= x.dims
        raise IndexError(axis)

    def extension_over(self, inner: Domain) -> tuple[Extend | None, ...] | None:
        """Return for each part the step from the part of `inner`, None where both are equal.

        The result is None if this domain is no extension of `inner`.
        """
        if len(self.parts) != len(inner.parts):
            return None
        pairs = list(zip(self.parts, inner.parts, strict=True))
        steps = tuple(x.step_over(y) for x, y in pairs)
        sound = all(s is not None or x == y for s, (x, y) in zip(steps, pairs, strict=True))
        return steps if sound and any(steps) else None

    def step_over(self, inner: Domain) -> Extend | None:
        """Return the extension that makes this domain from `inner`, or None if there is none."""
        if self.name != inner.name or self.steps[:-1] != inner.steps or not self.steps:
            return None
        last = self.steps[-1]
        return last if isinstance(last, Extend) else None

    # ------------------------------------------------------------------ how large

    def at(self, roots: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Return the points on each axis, if the declared domains have the resolutions `roots`."""
        if self.modes is not None:
            return self.frequencies
        return tuple(n for x in self.parts if x.axes for n in x.points(roots[x.name]))

    @property
    def frequencies(self) -> tuple[int, ...]:
        """The number of frequencies of a spectrum on each axis."""
        assert self.modes is not None
        full = tuple(2 * m + 1 for m in self.modes)
        return (*full[:-1], self.modes[-1] + 1) if self.halved else full

    def points(self, root: tuple[int, ...]) -> tuple[int, ...]:
        """Return the points on each axis of a single factor whose declared domain has `root`."""
        return tuple(self.points_on(i, n) for i, n in enumerate(root))

    def points_on(self, axis: int, n: int) -> int:
        """Return the points on an axis, if the declared domain has `n` points there."""
        part, local = self.part(axis)
        sampling = part.axes[local].points
        for step in part.steps:
            if isinstance(step, Coarsen):
                n = n // step.factor
            else:
                n, sampling = step.points(n, sampling, local), ring(sampling)
        return n

    def least_root(self, axis: int, needed: int) -> int:
        """Return the least resolution of the declared domain with `needed` points here."""
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
        """Return the resolution of the declared domain that gives this domain `n` points.

        Divisions round down, so there may be several: the smallest one that the program promises
        is chosen, or the smallest of all if it promises none of them.
        """
        part, local = self.part(axis)
        promised, low = part.axes[local], self.least_root(axis, n)
        step = promised.multiple_of
        candidate = -(-max(low, promised.least) // step) * step
        return candidate if self.points_on(axis, candidate) == n else low

    def atom(self, axis: int) -> str:
        """Write the number of points on an axis as a symbol: `D.x`, `(D.x//2)`, `E.x`."""
        part, local = self.part(axis)
        text = f"{part.name}.{part.axes[local].name}"
        for step in part.steps:
            if isinstance(step, Extend):
                text = f"{step.name}.{part.axes[local].name}"
            else:
                text = f"({text}//{step.factor})"
        return text

    def volume(self) -> Poly:
        """Return the number of points as a polynomial in the sizes."""
        if self.modes is not None:
            return product(tuple(Poly.of(n) for n in self.frequencies))
        return product(tuple(Poly.atom(self.atom(i)) for i in range(self.dims)))

    def __str__(self) -> str:
        return self.label


VECTOR = Domain(kind="vector", name="", axes=())


class Space(BaseModel):
    """`D -> R^c`: functions from a domain to `channels` numbers.

    Attributes:
        field: whether the values are real or complex numbers.
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
        """The number of real numbers in one value: 2 for complex values, else 1."""
        return 2 if self.complex else 1

    def with_channels(self, channels: Dim) -> Space:
        """Replace the channels by `channels` nameless ones."""
        return Space(domain=self.domain, channels=channels, field=self.field)

    def on(self, domain: Domain) -> Space:
        """Replace the domain."""
        return self.model_copy(update={"domain": domain})

    def numbers(self) -> Poly:
        """Return the number of real numbers in one sample of such a function."""
        return self.domain.volume() * (self.channels * self.width)

    def __str__(self) -> str:
        power = f"{self.field}^{power_text(self.channels)}"
        return power if self.domain.kind == "vector" else f"{self.domain} -> {power}"


def power_text(channels: int | Poly) -> str:
    """Write an exponent: `64`, `c`, or `(2 * c)` for a sum or product of symbols."""
    text = str(channels)
    return text if text.isalnum() else f"({text})"
