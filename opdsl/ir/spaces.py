"""Function spaces: domains with a symbolic resolution, and `D -> R^c`.

What comes in: declarations that the elaborator has read. What goes out: values that compare by
declaration. Two domains are the same only if they come from one declaration by the same steps:
two grids that happen to have 64 points each are different.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from opdsl.ir.dims import Poly, product

Boundary = Literal["periodic", "dirichlet", "neumann", "none"]
Sides = Literal["end", "both"]
Kind = Literal["grid", "points", "sphere"]
KINDS: dict[str, str] = {"grid": "a regular grid", "points": "points", "sphere": "a sphere"}
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


class Coarsen(BaseModel):
    """`D / factor`: n // factor points on each axis."""

    model_config = FROZEN

    op: Literal["coarsen"] = "coarsen"
    factor: int


class Extend(BaseModel):
    """`extend(D, fraction)`: longer by numerator / denominator of its length, and periodic.

    A periodic axis of n points has n spacings, any other n - 1; the extension has (1 + fraction)
    as many, rounded up, and closes on itself, so as many points. Where nothing is rounded its
    period is the same length at every resolution, which is what Fourier layers on it converge by.

    `name` is the name of the declaration, which makes two extensions different domains.
    """

    model_config = FROZEN

    op: Literal["extend"] = "extend"
    name: str
    numerator: int
    denominator: int
    sides: Sides = "end"

    def points(self, n: int, *, periodic: bool) -> int:
        """Points of the extension of an axis of n points."""
        spacings = n if periodic else n - 1
        return max(n, spacings - (-spacings * self.numerator // self.denominator))


Step = Annotated[Coarsen | Extend, Field(discriminator="op")]


class Domain(BaseModel):
    """A set on which functions live: a regular grid, points, a sphere.

    Points have one axis, `points`, and a sphere two, so that every domain has sampled axes.

    Attributes:
        name: the declaration it comes from.
        axes: the axes as declared.
        steps: what was done since.
        ambient: the dimension of the space in which points lie.
        geometry: whether all samples have the same points.
    """

    model_config = FROZEN

    kind: Kind = "grid"
    ambient: int | None = None
    geometry: Literal["shared", "per_sample"] = "shared"
    name: str
    axes: tuple[Axis, ...]
    steps: tuple[Step, ...] = ()

    @property
    def dims(self) -> int:
        """The number of axes."""
        return len(self.axes)

    @property
    def root(self) -> Domain:
        """The declared domain that this one comes from."""
        return self.model_copy(update={"steps": ()})

    @property
    def label(self) -> str:
        """How the program names it: `D`, `D/2`, or the name of an extension."""
        label = self.name
        for step in self.steps:
            label = step.name if isinstance(step, Extend) else f"{label}/{step.factor}"
        return label

    @property
    def periodic(self) -> tuple[bool, ...]:
        """For each axis, whether it closes on itself; an extension does by construction."""
        extended = any(isinstance(x, Extend) for x in self.steps)
        return tuple(extended or x.periodic for x in self.axes)

    def coarsened(self, factor: int) -> Domain:
        """`self / factor`; (D/2)/2 is D/4."""
        if factor == 1:
            return self
        last = self.steps[-1] if self.steps else None
        if isinstance(last, Coarsen):
            merged = Coarsen(factor=last.factor * factor)
            return self.model_copy_with(*self.steps[:-1], merged)
        return self.model_copy_with(*self.steps, Coarsen(factor=factor))

    def extended(self, step: Extend) -> Domain:
        """The domain `step.name` around this one."""
        return self.model_copy_with(*self.steps, step)

    def model_copy_with(self, *steps: Step) -> Domain:
        """The same declaration, reached by other steps."""
        return self.model_copy(update={"steps": steps})

    def extension_over(self, inner: Domain) -> Extend | None:
        """The step that makes this domain from `inner`, if it is one extension."""
        if self.name != inner.name or self.steps[:-1] != inner.steps or not self.steps:
            return None
        last = self.steps[-1]
        return last if isinstance(last, Extend) else None

    def points(self, root: tuple[int, ...]) -> tuple[int, ...]:
        """Points on each axis where the declared domain has `root` points."""
        return tuple(self.points_on(i, n) for i, n in enumerate(root))

    def points_on(self, axis: int, n: int) -> int:
        """Points on an axis where the declared domain has `n`."""
        periodic = self.axes[axis].periodic
        for step in self.steps:
            if isinstance(step, Coarsen):
                n = n // step.factor
            else:
                n, periodic = step.points(n, periodic=periodic), True
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

    def atom(self, axis: int) -> str:
        """The text of the number of points on an axis: `D.x`, `(D.x//2)`, `E.x`."""
        text = f"{self.name}.{self.axes[axis].name}"
        for step in self.steps:
            if isinstance(step, Extend):
                text = f"{step.name}.{self.axes[axis].name}"
            else:
                text = f"({text}//{step.factor})"
        return text

    def volume(self) -> Poly:
        """The number of points of the grid."""
        return product(tuple(Poly.atom(self.atom(i)) for i in range(self.dims)))

    def __str__(self) -> str:
        return self.label


class Space(BaseModel):
    """`D -> R^c`: functions from a domain to `channels` numbers.

    Attributes:
        components: the names of the channels, where the program names them.
    """

    model_config = FROZEN

    domain: Domain
    channels: int
    components: tuple[str, ...] | None = None

    def with_channels(self, channels: int) -> Space:
        """The same domain, `channels` nameless channels."""
        return Space(domain=self.domain, channels=channels)

    def on(self, domain: Domain) -> Space:
        """The same channels on another domain."""
        return Space(domain=domain, channels=self.channels, components=self.components)

    def numbers(self) -> Poly:
        """How many numbers one sample of such a function has."""
        return self.domain.volume() * self.channels

    def __str__(self) -> str:
        return f"{self.domain} -> R^{self.channels}"
