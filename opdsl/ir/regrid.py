"""Rules for blocks that move a function to another grid: both must stem from one declaration.

Also the cost of the transform that does so.
"""

from opdsl.ir.block import Refusal
from opdsl.ir.dims import Poly
from opdsl.ir.spaces import KINDS, Domain, Space
from opdsl.ir.steps import Coarsen, Extend, Step


def same_interval(x: Space, to: Domain) -> None:
    """Check that `to` covers the domain of `x` with other points: `D`, `D / 2`, `D / 3`.

    Raises:
        Refusal: OP0301, `to` is not a grid; OP0313, it covers something else.
    """
    if not to.satisfies("grid"):
        raise Refusal(
            "OP0301",
            f"a function is resampled on {KINDS['grid']} only",
            f"`{to}` is {KINDS[to.kind]}",
            at="to",
        )
    if _covered(to) == _covered(x.domain):
        return
    extended = to.name == x.domain.name and to.kind != "product"
    raise Refusal(
        "OP0313",
        f"`{to}` does not cover the same box as `{x.domain}`",
        f"this goes from `{x.domain}`",
        at="to",
        notes=("resampling keeps the box and changes the number of points",),
        helps=("go through `pad(to = ...)` or `crop(to = ...)`",)
        if extended
        else (f"name the grid that is meant by `{x.domain}`: `to = {x.domain.name} / 2`",),
    )


def extension(inner: Domain, outer: Domain, x: Space, keyword: str) -> tuple[Extend | None, ...]:
    """Return the step from `inner` to `outer` on each axis, for `pad` and `crop`.

    Raises:
        Refusal: OP0313, `outer` is not `extend(inner, ...)`.
    """
    steps = outer.extension_over(inner)
    if steps is not None and len({(x.sides, x.kind) for x in steps if x}) == 1:
        pairs = zip(steps, inner.parts, strict=True)
        return tuple(y for step, part in pairs for y in (step,) * part.dims)
    source, target = (inner, outer) if x.domain == inner else (outer, inner)
    cure = f"extend({source}, fraction = 1/4)" if x.domain == inner else f"extend({target}, ...)"
    raise Refusal(
        "OP0313",
        f"`{keyword}` cannot go from `{source}` to `{target}`",
        f"`{outer}` is no extension of `{inner}`",
        at="to",
        notes=("`pad` enters an extension of a domain, `crop` leaves it again",),
        helps=(f"declare the larger domain by `domain E = {cure}`",),
    )


def transform(x: Space) -> Poly:
    """Count the flops of a real FFT of one sample of N numbers: 2.5 N log2 N."""
    halvings = [Poly.atom(f"log2({x.domain.atom(i)})") for i in range(x.domain.dims)]
    return x.numbers() * sum(halvings, Poly()) * 2.5


def _covered(domain: Domain) -> list[tuple[object, ...]]:
    return [(x.name, x.kind, x.axes, _uncoarsened(x)) for x in domain.parts]


def _uncoarsened(domain: Domain) -> tuple[Step, ...]:
    steps = list(domain.steps)
    while steps and isinstance(steps[-1], Coarsen):
        steps.pop()
    return tuple(steps)
