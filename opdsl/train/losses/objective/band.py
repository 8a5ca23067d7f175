"""The objective by which the width of a band is learnt."""

from __future__ import annotations

from dataclasses import dataclass

from opdsl.train.config.schema import Band
from opdsl.train.losses.objective import LossInputs, LossValue, Objective
from opdsl.train.metrics.evaluate import band_loss
from opdsl.train.metrics.norms import mean_where, measured_samples


@dataclass(frozen=True, slots=True)
class BandObjective(Objective):
    """The pinball loss of the width of a band, whose prediction is not trained."""

    band: Band

    def __call__(self, x: LossInputs) -> LossValue:
        """Return the mean pinball loss over the samples with a value that counts."""
        weights = x.batch.weights
        loss = band_loss(x.outputs, x.batch.truth, self.band, x.scales, weights)
        counted = measured_samples(weights.get(self.band.of or ""), len(loss))
        return LossValue(mean_where(loss, counted.to(loss.device)), {}, len(loss))
