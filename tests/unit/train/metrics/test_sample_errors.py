"""Errors of samples one by one, and which of them are best, median and worst."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
import torch

from opdsl.train.config.schema import Normalise
from opdsl.train.engine.rollout import Rollout
from opdsl.train.metrics.energy_spectrum import grid_spectrum
from opdsl.train.metrics.evaluate import evaluate
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.metrics.sample_errors import SetSurvey, sample_errors, spectrum_lines
from opdsl.train.scaling.normalise import Normaliser

RING = partial(grid_spectrum, axes=GridAxes.unit((True,)))


@dataclass(frozen=True)
class Set:
    inputs: dict
    outputs: dict
    weights: dict = field(default_factory=dict)
    model_points: dict = field(default_factory=dict)
    name: str = "16"
    fingerprint: str = "1"
    resolution: tuple = (16,)

    def __len__(self):
        return len(self.inputs["a"])


class Half(torch.nn.Module):
    """u = a / 2."""

    def forward(self, a):
        return {"u": a / 2}


def normaliser(samples, loop=None):
    return Normaliser.fit(samples, Normalise(inputs="none", outputs="none"), loop)


def data(count=5):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(count, 2, 16, generator=generator)
    return Set({"a": a}, {"u": a * torch.linspace(0.4, 2, count)[:, None, None]})


def measured(samples, loop=None, **options):
    scales = normaliser(samples, loop)
    return sample_errors(Half(), scales, samples, device="cpu", batch=2, loop=loop, **options)


def test_each_sample_has_its_relative_error_and_their_mean_is_that_of_the_set():
    samples = data()
    errors = measured(samples).rel_l2
    factors = np.linspace(0.4, 2, 5)
    np.testing.assert_allclose(errors, np.abs(0.5 - factors) / factors, rtol=1e-5)
    whole = evaluate(Half(), normaliser(samples), samples, device="cpu")
    assert errors.mean() == pytest.approx(whole.rel_l2)


def test_a_sample_whose_truth_is_zero_has_no_rank():
    samples = data()
    samples.outputs["u"][1] = 0
    errors = measured(samples)
    assert np.isnan(errors.rel_l2[1])
    assert 1 not in errors.ranked().values()


@pytest.mark.parametrize(
    ("errors", "ranks"),
    [
        ([], {}),
        ([np.nan], {}),
        ([0.5], {"worst": 0}),
        ([0.5, 0.2], {"best": 1, "worst": 0}),
        ([0.5, 0.2, np.nan, 0.9, 0.3], {"best": 1, "median": 4, "worst": 3}),
    ],
)
def test_ranks(errors, ranks):
    assert SetSurvey(np.array(errors)).ranked() == ranks


def test_the_spectra_are_those_of_truth_prediction_and_their_difference():
    samples = data()
    spectra = measured(samples, spectrum_of={"u": RING}).spectra["u"]
    truth = samples.outputs["u"].double()
    prediction = samples.inputs["a"].double() / 2
    for energies, x in (
        (spectra.truth, truth),
        (spectra.prediction, prediction),
        (spectra.error, prediction - truth),
    ):
        assert energies.sum() == pytest.approx(float((x**2).mean(-1).sum(1).mean()), rel=1e-5)


def test_rollouts_have_the_spectrum_of_their_last_step():
    a = torch.randn(3, 1, 16, generator=torch.Generator().manual_seed(1))
    steps = torch.stack([a, a / 2, a / 8], 1)
    samples = Set({"a": a}, {"u": steps})
    loop = Rollout((("u", "a"),), {"a": 1})
    errors = measured(samples, loop=loop, spectrum_of={"u": RING})
    np.testing.assert_allclose(errors.spectra["u"].error, 0, atol=1e-12)  # a / 8 is exact
    np.testing.assert_allclose(errors.rel_l2, (0.5 + 0.5 + 0) / 3, rtol=1e-6)


def test_masked_functions_have_no_spectrum():
    samples = data()
    mask = torch.ones(5, 1, 16, dtype=torch.bool)
    mask[3, 0, 2] = False
    masked = Set(samples.inputs, samples.outputs, {"u": mask})
    assert measured(masked, spectrum_of={"u": RING}).spectra == {}


def test_energies_of_rounding_errors_are_gaps():
    samples = data()
    samples.outputs["u"].copy_(samples.inputs["a"] / 2)
    lines = spectrum_lines(measured(samples, spectrum_of={"u": RING}).spectra["u"])
    assert all(y is None for _, y in lines["error"])
    assert [x for x, _ in lines["truth"]] == list(range(1, 9))
