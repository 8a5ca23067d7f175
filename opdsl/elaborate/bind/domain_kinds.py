"""Domains of the wrong kind: OP0301, and which operators would accept them."""

from __future__ import annotations

from collections.abc import Collection

from opdsl.diagnostics import Label, Span
from opdsl.elaborate.bind.site import Site
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.ir.spaces import KINDS, Domain

WHY = {
    "grid": "a Fourier transform needs equispaced samples on a regular grid",
    "sphere": "spherical harmonics live on the sphere",
}


def wrong_kind(
    site: Site,
    name: str,
    domain: Domain,
    kinds: Collection[str],
    span: Span,
    shown: str | None = None,
) -> Poisoned:
    """Report OP0301: `name` is defined on domains of these kinds only.

    Args:
        site: where the error is reported.
        name: the name of a block or an input.
        domain: the domain that does not fit.
        kinds: the kinds that would fit.
        span: the span of the call.
        shown: the function or domain as the message shows it.
    """
    place = site.places.get(domain.name)
    declared_here = (Label(place, f"`{domain}` is {KINDS[domain.kind]}"),) if place else ()
    kind = min(kinds)  # the reason and the cure are those of the first kind
    *others, last = (KINDS.get(x, x) for x in sorted(kinds))
    needs = f"{', '.join(others)} or {last}" if others else last
    return site.fail(
        "OP0301",
        f"`{name}` is defined on {needs} only",
        Label(span, f"needs {needs}, got `{shown or domain}`"),
        *declared_here,
        notes=(WHY[kind],) if kind in WHY else (),
        helps=_cures(domain, kind),
    )


def _cures(domain: Domain, wanted: str) -> tuple[str, ...]:
    if wanted == "grid" and domain.scattered:
        return (
            (
                "move the function to a latent grid first: "
                "`domain L = grid(..., size = 64)` and `gno(to = L, radius = ...)`"
            ),
            "or use an operator that accepts points: `gno`, `attention`, `cross_attention`",
        )
    if wanted == "grid" and domain.kind == "sphere":
        return ("use `spherical_conv(lmax = ...)`, or `attention`, which accepts any domain",)
    if domain.kind == "vector":
        return ("make a constant function of the vector: `broadcast(to = ...)`",)
    if wanted == "grid":
        return ("declare it as a regular grid: `grid(x: 0..1, y: 0..1)`",)
    return ()
