"""What the parameter `basis` of a block means on a domain: the functions on each axis.

`opdsl.bases` defines the families; this module checks them against the boundary and the sampling of
a domain, and counts points and work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from opdsl.bases import (
    PARITIES,
    Bases,
    Basis,
    EndConditions,
    Family,
    Term,
    automatic,
    carried,
    completed,
    points_needed,
    terms,
)
from opdsl.ir.block import BYTES, Bound, Refusal, Work
from opdsl.ir.modes import FFT, Counts, axis_count, each_axis
from opdsl.ir.spaces import Domain, Space
from opdsl.sampling import GridSampling, spacings
from opdsl.spectrum import Modes, frequencies

END_NAMES = ("lower", "upper")


@dataclass(frozen=True, slots=True)
class Expansion:
    """The functions of a spectral layer on the axes of a domain.

    Attributes:
        terms: the family of each axis, for each term of the layer.
        samplings: where the points of each axis are.
        modes: the number of half-waves, or the greatest |k| of exponentials, of each axis.
        real: whether the functions on the domain are real.
    """

    terms: tuple[Term, ...]
    samplings: tuple[GridSampling, ...]
    modes: Counts
    real: bool

    @property
    def circles(self) -> tuple[int, ...]:
        """The axes with exponentials."""
        return tuple(i for i, family in enumerate(self.terms[0]) if family == "fourier")

    @property
    def real_weights(self) -> bool:
        """Whether the coefficients of real functions are real."""
        return self.real and not self.circles

    @property
    def counts(self) -> Counts:
        """The number of coefficients on each axis."""
        if not self.circles:
            return self.modes
        waves = frequencies(tuple(self.modes[i] for i in self.circles), real=self.real)
        counts = iter(map(len, waves))
        return tuple(next(counts) if i in self.circles else m for i, m in enumerate(self.modes))

    @property
    def coefficients(self) -> int:
        """The number of coefficients of one channel, of all terms."""
        return len(self.terms) * math.prod(self.counts)


def expansion(basis: Bases, modes: Modes, x: Space) -> Expansion | None:
    """Return the functions that `basis` means on the domain of `x`; None: exponentials everywhere.

    Raises:
        Refusal: OP0208, a wrong number of words or modes; OP0322, the sampling of an axis does not
            carry a family; OP0323, a basis contradicts the boundary.
    """
    if basis == "fourier":
        return None
    words = basis_of_each(basis, x.domain)
    ends = ends_of(x.domain)
    axes = zip(x.domain.axes, words, ends, strict=True)
    for axis, word, conditions in axes:
        check_boundary(axis.name, word, conditions)
    families = terms(words, ends)
    if all(f == "fourier" for term in families for f in term):
        return None
    samplings = tuple(axis.points for axis in x.domain.axes)
    for i, axis in enumerate(x.domain.axes):
        _check_sampling(axis.name, words[i], families[0][i], samplings[i], ends[i])
    counts = each_axis(modes, x)
    for i, m in enumerate(counts):
        if m == 0 and families[0][i] != "fourier":
            raise Refusal(
                "OP0208",
                f"0 modes leave no function on the axis `{x.domain.axes[i].name}`",
                "1 or more are needed where there are no exponentials",
                at="modes",
            )
    return Expansion(families, samplings, counts, real=not x.complex)


def basis_of_each(basis: Bases, domain: Domain) -> tuple[Basis, ...]:
    """Return the word of each axis.

    Raises:
        Refusal: OP0208, a wrong number of words.
    """
    if not isinstance(basis, tuple):
        return (basis,) * domain.dims
    if len(basis) == domain.dims:
        return basis
    raise Refusal(
        "OP0208",
        f"`basis` has {len(basis)} entries; the domain has {axis_count(domain.dims)}",
        "one word for each axis, or one for all",
        at="basis",
    )


def ends_of(domain: Domain) -> tuple[EndConditions | None, ...]:
    """Return the conditions at the ends of each axis; None where it closes."""
    pairs = zip(domain.axes, domain.periodic, strict=True)
    return tuple(None if closed else axis.ends for axis, closed in pairs)


def check_boundary(axis: str, word: Basis, ends: EndConditions | None) -> None:
    """Check that the boundary of an axis admits the functions of a basis.

    Raises:
        Refusal: OP0323.
    """
    if word in ("auto", "fourier"):
        return
    if ends is None:
        raise Refusal(
            "OP0323",
            f"`{word}` is a basis between two ends, and the axis `{axis}` is periodic",
            f"`{axis}` has no ends",
            at="basis",
            helps=("take what the boundary asks for: `basis = auto`",),
        )
    if word == "sine_cosine":
        return
    family = cast("Family", word)
    pairs = zip(END_NAMES, ends, PARITIES[family], strict=True)
    for end, condition, parity in pairs:
        if condition == "neumann" and parity == "odd":
            raise Refusal(
                "OP0323",
                f"`{word}` contradicts the Neumann condition at the {end} end of `{axis}`",
                "these functions vanish there, where the slope should",
                at="basis",
                helps=("take what the boundary asks for: `basis = auto`",),
            )


def _check_sampling(
    axis: str, word: Basis, family: Family, sampling: GridSampling, ends: EndConditions | None
) -> None:
    """Refuse a family that the points do not carry; `sine_cosine` extrapolates to missing ends."""
    chosen = automatic(ends) if word == "auto" else word
    if chosen == "sine_cosine" or carried(family, sampling):
        return
    needed = completed(family, sampling)
    raise Refusal(
        "OP0322",
        f"points with `sampling = {sampling}` do not carry `{family}` on the axis `{axis}`",
        f"its functions do not vanish at an end of `{axis}` that has no point",
        at="basis",
        helps=(
            f"sample that end too: `sampling = {needed}`, or cell centres: `sampling = centres`",
            "or take sines and cosines, with values extrapolated there: `basis = sine_cosine`",
        ),
    )


# --- points and work --------------------------------------------------------------------------


def expansion_bounds(domain: Domain, e: Expansion, modes: Modes) -> Iterator[Bound]:
    """Yield the bounds on each axis of a domain; `modes` is written as in the program."""
    for i, m in enumerate(e.modes):
        families = tuple(dict.fromkeys(term[i] for term in e.terms))
        sampling = domain.axes[i].points
        points, family = max((points_needed(f, sampling, m), f) for f in families)
        kept = f"|k| <= {m}" if family == "fourier" else f"{m} of `{family}`"
        rule = "sampling theorem" if family == "fourier" else f"points with sampling `{sampling}`"
        note = f"{rule}: {kept} needs {points} points"
        yield Bound(domain, i, points, kept, note, _cure(e.modes, modes, i, points, family))


def _cure(
    each: Counts, modes: Modes, axis: int, points: int, family: Family
) -> Callable[[int], str]:
    step = 2 if family == "fourier" else 1

    def cure(there: int) -> str:  # `there`: the points that the axis has
        fits = max(each[axis] + -(-(there - points) // step), 1)
        if isinstance(modes, int):
            return f"modes = {fits}"
        return f"modes = ({', '.join(str(fits if i == axis else k) for i, k in enumerate(each))})"

    return cure


def expansion_work(kernel: str, channels: int, size: Counts, e: Expansion) -> Work:
    """Return the work of the transforms of all terms in one direction, for one sample."""
    width = 1 if e.real else 2
    gemm = fft = moved = 0.0
    for term in e.terms:
        counts, done = list(size), channels * width
        for i in reversed(range(len(size))):
            before = math.prod(counts) * done
            counts[i] = e.counts[i]
            if kernel == "fft":
                length = _period(term[i], e.samplings[i], size[i])
                fft += FFT * before / size[i] * length * math.log2(max(length, 2))
                moved += 2.0 * BYTES * before * length / size[i]
            else:
                gemm += 2.0 * before * e.counts[i] * (2 if term[i] == "fourier" else 1)
        moved += float(BYTES * math.prod(size) * channels * width)
    return Work(gemm=gemm, fft=fft, moved=moved)


def _period(family: Family, sampling: GridSampling, n: int) -> int:
    """Return the length of the continuation that a fast transform takes."""
    if family == "fourier":
        return n
    lower, upper = PARITIES[family]
    return (2 if lower == upper else 4) * spacings(completed(family, sampling), n)
