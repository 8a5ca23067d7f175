"""The parameter `basis` of blocks that interpolate or sum functions on a grid."""

from __future__ import annotations

from opdsl.bases import (
    HALF_WAVES,
    Bases,
    Basis,
    Ends,
    Family,
    Lift,
    Term,
    carried,
    interpolant,
    terms,
)
from opdsl.ir.block import Refusal
from opdsl.ir.modes import axis_count
from opdsl.ir.spaces import Axis, Domain
from opdsl.sampling import GridSampling


def basis_of_each(basis: Bases, domain: Domain) -> tuple[Basis, ...]:
    """Return the basis of each axis of a grid.

    Raises:
        Refusal: OP0208, their number is not that of the axes; OP0323, a periodic axis has half
            waves.
    """
    each = basis if isinstance(basis, tuple) else (basis,) * domain.dims
    if len(each) != domain.dims:
        raise Refusal(
            "OP0208",
            f"`basis` has {len(each)} entries; the domain has {axis_count(domain.dims)}",
            "one word for each axis, or one for all",
            at="basis",
        )
    for axis, word, periodic in zip(domain.axes, each, domain.periodic, strict=True):
        if periodic and word in HALF_WAVES:
            raise Refusal(
                "OP0323",
                f"`basis = {word}` needs an axis with two ends",
                f"`{axis.name}` of `{domain}` is periodic",
                at="basis",
                helps=("write `basis = auto`, which takes waves on periodic axes",),
            )
    return each


def ends_of(domain: Domain) -> tuple[Ends | None, ...]:
    """Return the conditions at the two ends of each axis; None for a periodic one."""
    pairs = zip(domain.axes, domain.periodic, strict=True)
    return tuple(None if periodic else axis.ends for axis, periodic in pairs)


def interpolants(basis: Bases, domain: Domain) -> tuple[tuple[Family, Lift], ...]:
    """Return how functions on a grid are interpolated on each axis.

    Raises:
        Refusal: OP0208, OP0323, as `basis_of_each`; OP0322, the points do not determine the
            interpolant.
    """
    words = basis_of_each(basis, domain)
    axes = zip(domain.axes, words, ends_of(domain), domain.samplings, strict=True)
    result = []
    for axis, word, ends, sampling in axes:
        chosen = interpolant(word, ends, sampling)
        if chosen is None:
            raise _not_carried(axis, word, sampling)
        result.append(chosen)
    return tuple(result)


def terms_of(basis: Bases, domain: Domain) -> tuple[Term, ...]:
    """Return the terms of a sum of functions on a grid, each with a family for each axis.

    Raises:
        Refusal: OP0208, OP0323, as `basis_of_each`; OP0322, the points do not determine one of the
            families.
    """
    words = basis_of_each(basis, domain)
    result = terms(words, ends_of(domain))
    for term in result:
        for axis, word, family, sampling in zip(
            domain.axes, words, term, domain.samplings, strict=True
        ):
            if not carried(family, sampling):
                raise _not_carried(axis, word, sampling)
    return result


def _not_carried(axis: Axis, word: Basis, sampling: GridSampling) -> Refusal:
    return Refusal(
        "OP0322",
        f"the points of `{axis.name}` do not determine the functions of `basis = {word}`",
        f"`{axis.name}` has the sampling `{sampling}`",
        at="basis",
        notes=("at an end without a point they know only functions that vanish there",),
        helps=(
            f"declare `dirichlet` at that end of `{axis.name}` if functions vanish there",
            "or take data with points at both ends, or at cell centres",
        ),
    )
