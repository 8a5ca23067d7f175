"""The error of each sample of a set, and the mean energy spectra of truth, prediction and error."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from opdsl.nn.points.batch import Values, all_values, match_packing
from opdsl.train.engine.device import device_of
from opdsl.train.engine.loader import AnySampleSet, DeviceLoader
from opdsl.train.engine.precision import policy_of
from opdsl.train.engine.rollout import Rollout
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.energy_spectrum import Doubles, EnergySpectrum
from opdsl.train.metrics.evaluate import apply, at_rest, prepare, steps_of
from opdsl.train.metrics.norms import step_weights
from opdsl.train.metrics.quadrature import Samplings
from opdsl.train.scaling.normalise import Normaliser

RANKS = ("best", "median", "worst")
ROUNDING = 1e-12  # of energies in float32, relative


@dataclass(frozen=True, slots=True)
class Spectra:
    """Mean energies by wave number, (shells,) each."""

    truth: Doubles
    prediction: Doubles
    error: Doubles


@dataclass(frozen=True, slots=True)
class SetSurvey:
    """The errors of the samples of a set.

    Attributes:
        rel_l2: (samples,), the mean over outputs and steps in time; NaN where every truth is zero.
        spectra: output -> energy spectra, of its last step in time; means over samples, sums over
            channels.
    """

    rel_l2: Doubles
    spectra: Mapping[str, Spectra] = field(default_factory=dict)

    def ranked(self) -> dict[str, int]:
        """Return the indices of the best, the median and the worst sample by rank.

        Of one sample it is the worst, of two the best and the worst. Samples whose error is not a
        number are left out.
        """
        counted = np.flatnonzero(~np.isnan(self.rel_l2))
        order = [int(i) for i in counted[np.argsort(self.rel_l2[counted], kind="stable")]]
        if not order:
            return {}
        last = len(order) - 1
        places = {"best": 0, "median": last // 2, "worst": last}
        shown = RANKS[-1:] if last == 0 else RANKS[::2] if last == 1 else RANKS
        return {rank: order[places[rank]] for rank in shown}


def sample_errors(  # noqa: PLR0913  the contract with the callers
    module: nn.Module,
    normaliser: Normaliser,
    samples: AnySampleSet,
    *,
    spectrum_of: Mapping[str, EnergySpectrum] | None = None,
    samplings: Samplings | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
    loop: Rollout | None = None,
) -> SetSurvey:
    """Measure each sample of a set, which has at least one output.

    Args:
        module: takes inputs by name, returns a tensor or a dictionary.
        normaliser: of the run that trained it.
        samples: inputs and truth.
        spectrum_of: for outputs with spectra, (n, *grid) to energies (n, shells).
        samplings: of outputs on a sphere, see `opdsl.train.metrics.quadrature`.
        device: as in the settings.
        precision: as in the settings.
        batch: samples at a time.
        loop: how steps in time follow each other, if the truth has an axis of time.
    """
    policy = policy_of(precision, device_of(device))
    prepare(module, normaliser, policy)
    loader = DeviceLoader.of(samples, policy, samplings)
    errors: list[Tensor] = []
    sums: dict[str, list[Doubles]] = {}
    whole = dict(spectrum_of or {})  # a masked function has no spectrum
    with closing(loader), at_rest(module):
        for some in loader.in_order(batch):
            truth, steps = some.truth, steps_of(some.truth, loop)
            outputs = apply(module, normaliser, some.inputs, policy, loop, steps, some.places)
            parts = [
                _errors(outputs[k], x, some.weights.get(k), timed=loop is not None)
                for k, x in truth.items()
            ]
            errors.append(torch.stack(parts).nanmean(0))
            masked = {k for k, w in some.weights.items() if bool((all_values(w) == 0).any())}
            whole = {k: x for k, x in whole.items() if k in truth and k not in masked}
            for name, spectrum in whole.items():
                one = _energies(outputs[name], truth[name], spectrum, timed=loop is not None)
                sums.setdefault(name, []).append(one)
    spectra = {k: Spectra(*np.sum(sums[k], 0) / len(samples)) for k in whole}
    return SetSurvey(torch.cat(errors).double().numpy(), spectra)


def _errors(pred: Values, true: Values, weights: Values | None, *, timed: bool) -> Tensor:
    """Return the relative L2 error of each sample, (batch,); the mean over steps in time."""
    count = len(true)
    pred = match_packing(pred, true)
    if timed:
        weights = step_weights(weights, true)
        pred, true = (all_values(x).flatten(0, 1) for x in (pred, true))
    return rel_l2(pred, true, weights).cpu().reshape(count, -1).nanmean(1)


def _energies(pred: Values, true: Values, spectrum: EnergySpectrum, *, timed: bool) -> Any:
    """Return the sums over samples and channels of the energies, (3, shells)."""
    p, t = (_functions(x, timed=timed) for x in (pred, true))
    return np.stack([spectrum(x).sum(0) for x in (t, p, p - t)])


def _functions(u: Values, *, timed: bool) -> Tensor:
    """Return all channels of the last step as functions, (batch * channels, *grid)."""
    values = all_values(u).detach().cpu().double()
    return (values[:, -1] if timed else values).flatten(0, 1)


def spectrum_lines(spectra: Spectra) -> dict[str, list[tuple[float, float | None]]]:
    """Return the points (wave number, energy) of truth, prediction and error, without the mean.

    Energies that are rounding errors beside the greatest one are gaps.
    """
    named = {"truth": spectra.truth, "prediction": spectra.prediction, "error": spectra.error}
    least = ROUNDING * max(float(np.nanmax(x[1:], initial=0.0)) for x in named.values())
    return {
        name: [(float(i), float(x) if x > least else None) for i, x in enumerate(energies)][1:]
        for name, energies in named.items()
    }
