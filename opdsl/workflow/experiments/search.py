"""The points of a sweep: all of a grid, random ones, or those that Optuna proposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import product
from math import prod
from random import Random
from typing import Any, Protocol, TypeAlias

from opdsl.diagnostics import fault
from opdsl.workflow.experiments.axes import MOST, SweepAxis

SEARCHES = ("grid", "random", "optuna")
DEFAULT_COUNT = 20  # points of a random search, and of Optuna

SweepValues: TypeAlias = dict[str, str]  # key of an axis -> text of its value
Scored: TypeAlias = tuple[SweepValues, float | None]  # a finished point; None if it failed


class Search(Protocol):
    """Proposes the points of a sweep, one after the other."""

    def propose(self, finished: Sequence[Scored], running: Sequence[SweepValues]) -> SweepValues:
        """Return the next point, given those that are finished and those in progress."""


def fixed_points(
    axes: Sequence[SweepAxis], search: str, count: int | None, seed: int
) -> list[SweepValues]:
    """Return the points of a grid or of a random search; all of them are known beforehand.

    Args:
        axes: of the sweep.
        search: `grid` or `random`.
        count: how many points; of a grid the first ones, all if not given.
        seed: of a random search.

    Raises:
        OpError: OP0743, a grid has a continuous range or too many points.
    """
    if search == "random":
        return _random_points(axes, count or DEFAULT_COUNT, seed)
    for axis in axes:
        if axis.continuous:
            message = f"a grid needs to know how many values of `{axis.key}` there are"
            text = f"{axis.scale}({axis.text(axis.low)}, {axis.text(axis.high)}, 8)"
            helps = (f"write `{axis.key}={text}`", "or search at random: `--search random`")
            raise fault("OP0743", message, helps=helps)
    total = prod(len(x.values) for x in axes)
    if total > MOST:
        message = f"the grid has {total} points, more than {MOST}"
        raise fault("OP0743", message, helps=("search at random: `--search random --points 100`",))
    keys = [x.key for x in axes]
    points = [dict(zip(keys, x, strict=True)) for x in product(*(x.values for x in axes))]
    return points[:count]


def _random_points(axes: Sequence[SweepAxis], count: int, seed: int) -> list[SweepValues]:
    """Draw different points; fewer where the axes have no more."""
    random, points = Random(seed), []  # noqa: S311  no secret
    for _ in range(100 * count):
        point = {x.key: x.choose(random) for x in axes}
        if point not in points:
            points.append(point)
        if len(points) == count:
            break
    return points


class OptunaSearch:
    """Points that the tree-structured Parzen estimator of Optuna proposes from errors so far.

    Source: Bergstra et al. 2011, Algorithms for hyper-parameter optimization; Akiba et al. 2019,
    arXiv:1907.10902.
    """

    def __init__(self, axes: Sequence[SweepAxis], seed: int) -> None:
        if find_spec("optuna") is None:
            message = "`--search optuna` needs the package optuna"
            raise fault("OP0645", message, helps=("install it: `pip install 'opdsl[optuna]'`",))
        self._axes, self._seed = axes, seed

    def propose(self, finished: Sequence[Scored], running: Sequence[SweepValues]) -> SweepValues:
        """Return the next point; equal histories give equal points."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        number = len(finished) + len(running)
        sampler = optuna.samplers.TPESampler(seed=self._seed + number, constant_liar=True)
        study = optuna.create_study(sampler=sampler)
        distributions = {x.key: _distribution(x) for x in self._axes}
        states = optuna.trial.TrialState
        for values, score, state in (
            *((x, s, states.FAIL if s is None else states.COMPLETE) for x, s in finished),
            *((x, None, states.RUNNING) for x in running),
        ):
            params = {x.key: _parameter(x, values[x.key]) for x in self._axes}
            study.add_trial(
                optuna.trial.create_trial(
                    params=params, distributions=distributions, value=score, state=state
                )
            )
        trial = study.ask(distributions)
        return {x.key: _text(x, trial.params[x.key]) for x in self._axes}


def _distribution(axis: SweepAxis) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not axis.continuous:
        return CategoricalDistribution(axis.values)
    log = axis.scale == "log"
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=log)
    return FloatDistribution(axis.low, axis.high, log=log)


def _parameter(axis: SweepAxis, text: str) -> Any:
    if not axis.continuous:
        return text
    return int(text) if axis.whole else float(text)


def _text(axis: SweepAxis, value: Any) -> str:
    return axis.text(value) if axis.continuous else str(value)


def extreme_points(axes: Sequence[SweepAxis]) -> list[SweepValues]:
    """Return points that contain every listed value and both ends of every range.

    Each of them differs from the first in one axis, so that a wrong value is found once.
    """
    first = {x.key: x.extremes[0] for x in axes}
    others = [first | {x.key: value} for x in axes for value in x.extremes[1:]]
    return [first, *others]


def in_words(values: Mapping[str, str]) -> str:
    """Write a point in one line."""
    return "  ".join(f"{k}={v}" for k, v in values.items())
