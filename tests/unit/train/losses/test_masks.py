"""Masked values take no part in losses, statistics and errors: sums over the others are the oracle.

A mask is a weight that is zero; what lies below it may be anything, also NaN.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from opdsl.nn.points.packed import Packed
from opdsl.train.config.schema import Normalise
from opdsl.train.engine.loader import DeviceLoader
from opdsl.train.engine.precision import policy_of
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics.calibrate import Calibration, calibrate, coverage
from opdsl.train.metrics.error_sums import ErrorSums, average
from opdsl.train.metrics.norms import (
    GridAxes,
    mean_over_points,
    measured_samples,
    nonzero_samples,
    step_weights,
)
from opdsl.train.metrics.pinball import pinball
from opdsl.train.metrics.quadrature import field_weights, grid_weights
from opdsl.train.scaling.normalise import Normaliser

SHAPE = (4, 2, 6, 5)


class Held(SimpleNamespace):
    """A sample set as the engine sees it."""

    def __len__(self):
        return len(next(iter(self.outputs.values())))


@pytest.fixture
def case():
    random = torch.Generator().manual_seed(3)
    true, pred = torch.randn(2, *SHAPE, generator=random, dtype=torch.float64)
    mask = torch.rand(SHAPE[0], 1, *SHAPE[2:], generator=random) > 0.4
    return pred, true, mask


def below(true, mask, value):
    return torch.where(mask, true, torch.full_like(true, value))


def valid(x, mask, sample):
    return x[sample][mask.expand_as(x)[sample]]


@pytest.mark.parametrize("value", [0.0, 1e30, math.nan, math.inf])
def test_the_loss_and_its_gradient_are_those_of_the_values_that_count(case, value):
    pred, true, mask = case
    pred.requires_grad_()
    loss = rel_l2(pred, below(true, mask, value), mask)
    (gradient,) = torch.autograd.grad(loss.sum(), pred)
    for i in range(len(true)):
        p = valid(pred.detach(), mask, i).requires_grad_()
        t = valid(true, mask, i)
        expected = (p - t).norm() / t.norm()
        (slope,) = torch.autograd.grad(expected, p)
        assert float(loss[i].detach()) == pytest.approx(float(expected.detach()), rel=1e-14)
        assert torch.allclose(valid(gradient, mask, i), slope, rtol=1e-12, atol=1e-15)
    assert not gradient[~mask.expand_as(gradient)].any()


def test_the_mask_of_a_batch_of_points_is_packed_like_it():
    true, pred = (Packed.of(torch.randn(1, n, dtype=torch.float64) for n in (3, 5)) for _ in "ab")
    mask = Packed.of([torch.tensor([[True, False, True]]), torch.tensor([[False] * 4 + [True]])])
    found = rel_l2(pred, true, mask)
    for i, (p, t, m) in enumerate(zip(pred.parts, true.parts, mask.parts, strict=True)):
        assert float(found[i]) == pytest.approx(float((p - t)[m].norm() / t[m].norm()), rel=1e-14)


@pytest.mark.parametrize("value", [0.0, 1e30, math.nan])
def test_errors_over_a_set_are_those_of_the_values_that_count(case, value):
    pred, true, mask = case
    sums = ErrorSums()
    zero = sums.add(pred, below(true, mask, value), GridAxes.unit((True, False)), mask, timed=False)
    metrics = average([sums], int(zero.sum()))
    away = (pred - true)[mask.expand_as(true)]
    assert metrics.rmse == pytest.approx(float(away.square().mean().sqrt()), rel=1e-14)
    assert metrics.max_error == pytest.approx(float(away.abs().max()), rel=1e-6)
    relative = [
        float(valid(pred - true, mask, i).norm() / valid(true, mask, i).norm()) for i in range(4)
    ]
    assert metrics.rel_l2 == pytest.approx(sum(relative) / 4, rel=1e-14)
    assert metrics.rel_h1 is None
    assert metrics.zero_samples is None


def test_a_sample_that_is_masked_everywhere_has_no_error(case):
    pred, true, mask = case
    mask[1], true[2] = False, below(true[2], mask[2], 7.0) * ~mask[2]
    sums = ErrorSums()
    zero = sums.add(pred, true, GridAxes((), ()), mask, timed=False)
    assert zero.tolist() == [False, False, True, False]
    assert nonzero_samples(true, mask).tolist() == [True, False, False, True]
    assert measured_samples(mask, 4).tolist() == [True, False, True, True]
    metrics = average([sums], int(zero.sum()))
    away = (pred - true)[mask.expand_as(true)]
    assert metrics.rmse == pytest.approx(float(away.square().mean().sqrt()), rel=1e-14)
    kept = [float(valid(pred - true, mask, i).norm() / valid(true, mask, i).norm()) for i in (0, 3)]
    assert metrics.rel_l2 == pytest.approx(sum(kept) / 2, rel=1e-14)
    rest = valid(pred, mask, 2).square().mean().sqrt()
    assert metrics.zero_rmse == pytest.approx(float(rest), rel=1e-14)


def test_a_set_without_values_has_errors_that_are_not_numbers(case):
    pred, true, _ = case
    sums = ErrorSums()
    sums.add(pred, true, GridAxes((), ()), torch.zeros(4, 1, 6, 5, dtype=torch.bool), timed=False)
    metrics = average([sums], 0)
    assert all(map(math.isnan, (metrics.rel_l2, metrics.rmse, metrics.max_error)))


def test_each_step_in_time_has_its_own_mask(case):
    pred, true, _ = case
    pred, true = pred[:, None].repeat(1, 3, 1, 1, 1), true[:, None].repeat(1, 3, 1, 1, 1)
    mask = torch.rand(4, 3, 1, 6, 5, generator=torch.Generator().manual_seed(1)) > 0.5
    sums = ErrorSums()
    sums.add(pred, below(true, mask, math.nan), GridAxes((), ()), mask, timed=True)
    steps = average([sums], 0).steps
    for k in range(3):
        expected = [
            float(valid((pred - true)[:, k], mask[:, k], i).norm())
            / float(valid(true[:, k], mask[:, k], i).norm())
            for i in range(4)
        ]
        assert steps[k] == pytest.approx(sum(expected) / 4, rel=1e-14)
    shared = torch.ones(1, 1, 6, 5)
    assert step_weights(shared, true) is shared
    assert step_weights(mask, true).shape == (12, 1, 6, 5)


@pytest.mark.parametrize("value", [0.0, 1e30, math.nan])
@pytest.mark.parametrize("shared", [True, False])
def test_statistics_are_those_of_the_values_that_count(case, value, shared):
    _, true, mask = case
    mask = mask[:1] if shared else mask
    true = true.repeat(40, 1, 1, 1)  # several chunks
    mask = mask if shared else mask.repeat(40, 1, 1, 1)
    x = below(true, mask, value).float()
    samples = Held(
        inputs={"a": x}, outputs={"u": x}, weights={"a": mask, "u": mask}, model_points={}
    )
    scales = Normaliser.fit(samples, Normalise()).scales
    for name in ("in_a", "out_u"):
        for c in range(2):
            kept = true[:, c][mask[:, 0].expand(len(true), -1, -1)]
            assert float(scales[name].mean[c]) == pytest.approx(float(kept.mean()), rel=1e-5)
            deviation = float(kept.std(correction=0))
            assert float(scales[name].std[c]) == pytest.approx(deviation, rel=1e-5)


def test_a_channel_without_values_has_finite_statistics():
    x = torch.randn(3, 2, 4)
    mask = torch.ones(3, 2, 4, dtype=torch.bool)
    mask[:, 1] = False
    samples = Held(inputs={}, outputs={"u": x}, weights={"u": mask}, model_points={})
    scale = Normaliser.fit(samples, Normalise()).scales["out_u"]
    assert float(scale.mean[1]) == 0
    assert float(scale.std[1]) > 0


def test_batches_have_the_masks_of_their_own_samples(case):
    pred, true, mask = case
    samples = Held(
        inputs={"a": pred.float()},
        outputs={"u": true.float()},
        weights={"u": mask},
        model_points={},
    )
    policy = policy_of("fp32", torch.device("cpu"))
    weights = field_weights(samples.outputs, {}, samples.weights)
    loader = DeviceLoader(samples.inputs, samples.outputs, 4, policy, {}, weights)
    batch = loader.take(torch.tensor([2, 0]))
    assert torch.equal(batch.weights["u"], mask[[2, 0]])


def test_a_mask_multiplies_the_weights_of_latitudes():
    mask = torch.rand(3, 1, 9, 4) > 0.5
    latitudes = grid_weights(("equiangular", None), (9, 4)).float()
    fields = {"u": torch.zeros(3, 1, 9, 4)}
    found = field_weights(fields, {"u": ("equiangular", None)}, {"u": mask})
    assert torch.equal(found["u"], mask * latitudes)


def test_means_and_pinball_losses_leave_masked_values_out(case):
    pred, true, mask = case
    found = pinball(pred, below(true, mask, math.nan), 0.9, mask)
    for i in range(4):
        r = valid(true - pred, mask, i)
        expected = torch.maximum(0.9 * r, -0.1 * r).mean()
        assert float(found[i]) == pytest.approx(float(expected.detach()), rel=1e-14)
    mask[0] = False
    assert mean_over_points(true, mask)[0].isnan()


@pytest.mark.parametrize("value", [0.0, 1e30])
def test_a_band_is_calibrated_on_the_values_that_count(case, value):
    _, true, mask = case
    true, mask = true.repeat(5, 1, 1, 1), mask.repeat(5, 1, 1, 1)
    mask[7] = False  # a function without values promises nothing
    zero, one = torch.zeros_like(true), torch.ones_like(true)
    filled = below(true, mask, value)
    factor, rank = calibrate(zero, one, filled, alpha=0.25, delta=0.2, weights=mask)
    kept = [i for i in range(20) if i != 7]
    parts = [valid(true, mask, i).abs().sort().values for i in kept]
    required = sorted(float(x[math.ceil(0.75 * len(x)) - 1]) for x in parts)
    assert rank == math.ceil(20 * 0.8)
    assert factor == pytest.approx(required[rank - 1], rel=1e-12)
    band = Calibration("u", "w", 0.25, 0.2, factor, 19, rank, "")
    found = coverage(zero, one, filled, band, mask)
    inside = [float((x <= factor).double().mean()) for x in parts]
    assert found.points == pytest.approx(sum(inside) / 19, rel=1e-12)
    assert found.functions == pytest.approx(sum(x <= factor for x in required) / 19)
    assert found.samples == 19
