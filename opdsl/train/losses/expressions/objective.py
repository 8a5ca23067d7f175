"""The objective of an expression: a weighted sum of errors; and metrics that are expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from opdsl.train.engine.loader import Batch
from opdsl.train.losses.expressions.evaluation import BatchFunctions, DomainFacts, SampleErrors
from opdsl.train.losses.expressions.nodes import WeightedTerm
from opdsl.train.losses.objective import LossInputs, LossValue, Objective
from opdsl.train.metrics.norms import mean_where

Prepare = Callable[[Batch], Batch]
ObjectiveState = dict[str, float | list[float] | Tensor]
SumValues = tuple[dict[str, list[float]], dict[str, list[int]]]


class Balance(Protocol):
    """Adaptive weights of the terms of a loss, which follow from their values."""

    def weights(self, values: Mapping[str, float]) -> Mapping[str, float]:
        """Return the weight of each term for this step.

        Args:
            values: of the terms in this step, by their texts.
        """

    def state_dict(self) -> ObjectiveState:
        """Return what a resumed run needs."""

    def load_state_dict(self, state: Mapping[str, float | list[float] | Tensor]) -> None:
        """Restore what `state_dict` returned."""


@dataclass(frozen=True, slots=True)
class ExpressionObjective(Objective):
    """A sum of weighted errors, each the mean over the samples that count.

    Attributes:
        terms: the weighted errors.
        domains: of the functions, by label.
        balance: adaptive weights of the terms; None where they are those of the expression.
        preparation: what points need before the forward pass, so that they have derivatives.
        factors: the adaptive weights of the last step.
    """

    terms: tuple[WeightedTerm, ...]
    domains: Mapping[str, DomainFacts] = field(default_factory=dict)
    balance: Balance | None = None
    preparation: Prepare | None = None
    factors: dict[str, float] = field(default_factory=dict)

    @property
    def weights(self) -> Mapping[str, float]:
        """The adaptive weights of the terms in the last step."""
        return self.factors

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch that the module is applied to."""
        return batch if self.preparation is None else self.preparation(batch)

    def __call__(self, x: LossInputs) -> LossValue:
        """Return the loss of a batch; a sample counts if a term has an error of it."""
        functions = BatchFunctions(x, self.domains)
        results = [functions.errors(term.error) for term in self.terms]
        values = [mean_where(r.errors, r.counted) for r in results]
        texts = [term.text for term in self.terms]
        factors = self.factors
        if self.balance is not None:
            sizes: Mapping[str, float] = {
                k: float(v.detach()) for k, v in zip(texts, values, strict=True)
            }
            if x.over_processes is not None:
                sizes = x.over_processes(sizes)
            factors.update(self.balance.weights(sizes))
        total = torch.stack(
            [
                _times(v, term.weight_at(x.epoch) * factors.get(term.text, 1.0))
                for v, term in zip(values, self.terms, strict=True)
            ]
        ).sum()
        several = len(self.terms) > 1
        shown = dict(zip(texts, values, strict=True)) if several else {}
        return LossValue(total, shown, _count(results, x))

    def state_dict(self) -> ObjectiveState:
        """Return the state of the balance, if there is one."""
        return {} if self.balance is None else self.balance.state_dict()

    def load_state_dict(self, state: Mapping[str, float | list[float] | Tensor]) -> None:
        """Restore the state of the balance, if there is one."""
        if self.balance is not None:
            self.balance.load_state_dict(state)


def _times(value: Tensor, weight: float) -> Tensor:
    return value if weight == 1 else value * weight


def _count(results: list[SampleErrors], x: LossInputs) -> int:
    """Count the samples of which some term has an error."""
    samples = len(next(iter(x.outputs.values())))
    some = [r.counted.reshape(samples, -1).any(1) for r in results]
    return int(torch.stack(some).any(0).sum())


@dataclass(frozen=True, slots=True)
class MetricExpressions:
    """Metrics that are expressions, summed over the batches of a set of samples.

    Attributes:
        terms: of each metric, by its text.
        domains: of the functions, by label.
        preparation: as for `ExpressionObjective`.
    """

    terms: Mapping[str, tuple[WeightedTerm, ...]]
    domains: Mapping[str, DomainFacts] = field(default_factory=dict)
    preparation: Prepare | None = None

    def sums(self) -> MetricSums:
        """Begin sums over a set of samples."""
        return MetricSums(self)


@dataclass(slots=True)
class MetricSums:
    """Running sums of the errors of metrics, and how many samples they have."""

    metrics: MetricExpressions
    totals: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)

    @property
    def needs_gradients(self) -> bool:
        """Whether metrics take derivatives at points."""
        return self.metrics.preparation is not None

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch that the module is applied to."""
        preparation = self.metrics.preparation
        return batch if preparation is None else preparation(batch)

    def add(self, x: LossInputs) -> None:
        """Add a batch."""
        functions = BatchFunctions(x, self.metrics.domains)
        for text, terms in self.metrics.terms.items():
            totals = self.totals.setdefault(text, [0.0] * len(terms))
            counts = self.counts.setdefault(text, [0] * len(terms))
            for i, term in enumerate(terms):
                result = functions.errors(term.error)
                kept = torch.where(result.counted, result.errors.detach(), 0.0)
                totals[i] += float(kept.sum(dtype=_sum_dtype(kept)))
                counts[i] += int(result.counted.sum())

    def values(self) -> SumValues:
        """Return the sums and the numbers of samples, as plain values."""
        return self.totals, self.counts

    def replace(self, parts: Sequence[SumValues]) -> None:
        """Replace the sums by those over all parts of the samples, as of several processes."""
        self.totals, self.counts = {}, {}
        for totals, counts in parts:
            for text, values in totals.items():
                before = self.totals.get(text, [0.0] * len(values))
                self.totals[text] = [a + b for a, b in zip(before, values, strict=True)]
                some = self.counts.get(text, [0] * len(values))
                self.counts[text] = [a + b for a, b in zip(some, counts[text], strict=True)]

    def means(self) -> dict[str, float]:
        """Return each metric; NaN where no sample has an error."""
        return {
            text: sum(
                term.weight * (total / count if count else float("nan"))
                for term, total, count in zip(
                    terms, self.totals[text], self.counts[text], strict=True
                )
            )
            for text, terms in self.metrics.terms.items()
            if text in self.totals
        }


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64
