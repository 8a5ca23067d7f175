"""The parameter `basis` of blocks that interpolate or sum functions on a grid."""

from __future__ import annotations

from opdsl.bases import Bases, Basis, Family, Lift, Term, interpolant, terms
from opdsl.ir.axes import Axis
from opdsl.ir.block import Refusal
from opdsl.ir.expansion import basis_of_each, check_boundary, ends_of
from opdsl.ir.spaces import Domain
from opdsl.sampling import GridSampling


def is_plain(basis: Bases) -> bool:
    """Return whether a basis consists of waves on every axis."""
    return set(basis if isinstance(basis, tuple) else (basis,)) == {"fourier"}


def _words(basis: Bases, domain: Domain) -> tuple[Basis, ...]:
    """Return the basis of each axis, which the boundary admits.

    Raises:
        Refusal: OP0208, OP0323.
    """
    words = basis_of_each(basis, domain)
    for axis, word, ends in zip(domain.axes, words, ends_of(domain), strict=True):
        check_boundary(axis.name, word, ends)
    return words


def interpolants(basis: Bases, domain: Domain) -> tuple[tuple[Family, Lift], ...]:
    """Return how functions on a grid are interpolated on each axis.

    Raises:
        Refusal: OP0208, a wrong number of words; OP0322, the points do not determine the
            interpolant; OP0323, a basis contradicts the boundary.
    """
    words = _words(basis, domain)
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
        Refusal: OP0208, a wrong number of words; OP0323, a basis contradicts the boundary.
    """
    return terms(_words(basis, domain), ends_of(domain))


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
