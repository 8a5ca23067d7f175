"""The weights of spectral convolutions, dense or factorised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from opdsl.migrate.neuralop.draft import Shapes, WeightSource, not_importable
from opdsl.migrate.neuralop.writing import (
    weight,
)

NEWEST = "neuralop_93d3f06"


@dataclass(frozen=True, slots=True)
class Weights:
    """The factorisation of a weight; `rank` is a fraction of the full one, or whole numbers."""

    factor: str = "dense"
    rank: float | tuple[int, ...] = 1.0
    separable: bool = False


def spectral_takes(w: Weights, theirs: str, *, axes: int) -> Iterator[WeightSource]:
    """Yield the sources of the weight of a convolution on `axes` axes, dense or factorised."""
    if w.factor == "dense":
        yield weight(theirs + "tensor", "separable" if w.separable else "spectral")
        return
    if w.factor == "tucker":
        yield weight(theirs + "core", "pairs", "weight.core")
    keys = tuple(f"{theirs}factors.factor_{i}" for i in range(axes + (1 if w.separable else 2)))
    for i, key in enumerate(keys):
        ours = f"weight.factors.{i}"
        if w.factor == "tt":
            yield WeightSource(ours, keys, f"train_{i}")
        elif i == 0 and w.factor == "cp":
            yield WeightSource(ours, (f"{theirs}weights", key), "weighted")
        else:
            yield weight(key, "pairs", ours)


def one_sided(n_modes: tuple[int, ...]) -> tuple[tuple[int, ...], object]:
    """Convert two-sided numbers of modes to ours and their layouts (None if all are symmetric)."""
    modes = tuple(n // 2 for n in n_modes)
    # the last axis has the frequencies 0 ... m in both layouts
    layouts = tuple("symmetric" if n % 2 else "neuralop" for n in n_modes)
    if len(set(layouts)) == 1:
        return modes, None if layouts[0] == "symmetric" else layouts[0]
    return modes, layouts


def stored_weights(name: str, o: Any, shapes: Shapes, theirs: str) -> Weights:
    """Return the factorisation of a layer's weight, with the ranks of its weights if there are any.

    Args:
        name: name of the model.
        o: options, with `factorization`, `rank` and `separable`.
        shapes: shapes of neuraloperator's weights.
        theirs: prefix of the names of this weight.

    Raises:
        OpError: OP0641, the factorisation has no counterpart.
    """
    kind = str(o.factorization or "dense").lower().removeprefix("complex")
    if kind not in ("dense", "cp", "tucker", "tt"):
        choices = "dense, CP, Tucker and TT are known"
        raise not_importable(name, f"`factorization = {o.factorization}`", choices)
    if kind == "dense":
        return Weights(separable=o.separable)
    return Weights(kind, _ranks(kind, shapes, theirs) or o.rank, o.separable)


def _ranks(kind: str, shapes: Shapes, theirs: str) -> tuple[int, ...]:
    """Ranks of the factors in `shapes`; empty if there are none."""
    if kind == "tucker":
        return tuple(shapes.get(f"{theirs}core", ()))
    factors: list[tuple[int, ...]] = []
    while (shape := shapes.get(f"{theirs}factors.factor_{len(factors)}")) is not None:
        factors.append(shape)
    if kind == "cp":
        return factors[0][-1:] if factors else ()
    return full_ranks(factors)


def full_ranks(factors: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Ranks of a tensor train with factors (rank before, size, rank behind), at most the full ones.

    Those of tensorly may be larger, which has no effect on the product; see `changes.train`.
    """
    sizes = [x[1] for x in factors]
    ranks = [x[2] for x in factors[:-1]]
    for i in range(len(ranks) - 1, -1, -1):
        ranks[i] = min(ranks[i], sizes[i + 1] * (ranks[i + 1] if i + 1 < len(ranks) else 1))
    for i in range(len(ranks)):
        ranks[i] = min(ranks[i], sizes[i] * (ranks[i - 1] if i else 1))
    return tuple(ranks)
