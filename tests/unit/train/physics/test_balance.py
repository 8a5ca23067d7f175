"""Adaptive weights against their formulas, and what a resumed run restores."""

import math

import pytest

from opdsl.train.config.balance import BalanceSettings
from opdsl.train.physics.balance import Relobralo, SoftAdapt, balance_of, scaled_softmax


def softmax(values):
    powers = [math.exp(x) for x in values]
    return [len(values) * x / sum(powers) for x in powers]


def terms(*values):
    return {f"term {i}": x for i, x in enumerate(values)}


def history(steps=40):
    return [terms(1 / (k + 1), 2 / (k + 1) ** 0.5, 3.0 + 0.1 * math.sin(k)) for k in range(steps)]


def test_the_softmax_does_not_overflow():
    assert scaled_softmax([1e6, 1e6]) == [1.0, 1.0]
    assert scaled_softmax([0.0, math.log(3)]) == pytest.approx([0.5, 1.5])


def test_relobralo_without_memory_weighs_by_the_last_ratios():
    balance = Relobralo(BalanceSettings(kind="relobralo", temperature=0.5, smoothing=0.0))
    assert list(balance.weights(terms(1.0, 2.0)).values()) == [1.0, 1.0]
    found = list(balance.weights(terms(0.5, 1.8)).values())
    assert found == pytest.approx(softmax([0.5 / 0.5, 0.9 / 0.5]))
    found = list(balance.weights(terms(0.5, 0.9)).values())
    assert found == pytest.approx(softmax([1.0 / 0.5, 0.5 / 0.5]))


@pytest.mark.parametrize("lookback", [0.0, 1.0])
def test_relobralo_smooths_weights_or_looks_back_at_the_first_step(lookback):
    settings = BalanceSettings(kind="relobralo", temperature=1.0, smoothing=0.9, lookback=lookback)
    balance = Relobralo(settings)
    for values in (terms(4.0, 1.0), terms(2.0, 1.0), terms(1.0, 0.9)):
        found = list(balance.weights(values).values())
    first = softmax([0.5, 1.0])
    second = [0.9 * a + 0.1 * b for a, b in zip([1, 1], first, strict=True)]
    if lookback == 0.0:
        second = first
    older = second if lookback else softmax([1 / 4, 0.9])
    newer = softmax([1 / 2, 0.9])
    expected = [0.9 * a + 0.1 * b for a, b in zip(older, newer, strict=True)]
    assert found == pytest.approx(expected)


def test_softadapt_compares_the_means_of_steps():
    settings = BalanceSettings(kind="softadapt", beta=2.0, every=2)
    balance = SoftAdapt(settings)
    rows = [(1, 5), (3, 3), (1, 3), (1, 7), (0, 0)]
    found = [list(balance.weights(terms(*map(float, x))).values()) for x in rows]
    assert found[:4] == [[1.0, 1.0]] * 4
    changes = [1 - 2, 5 - 4]  # of the means
    assert found[4] == pytest.approx(softmax([2 * x / 2 for x in changes]))


@pytest.mark.parametrize("kind", ["relobralo", "softadapt"])
def test_weights_sum_to_the_number_of_terms_and_favour_slow_ones(kind):
    balance = balance_of(BalanceSettings(kind=kind, smoothing=0.5, every=5), 3)
    for values in history():
        weights = list(balance.weights(values).values())
        assert sum(weights) == pytest.approx(3)
    assert weights[1] < weights[2]


@pytest.mark.parametrize("kind", ["relobralo", "softadapt"])
def test_a_restored_balance_goes_on_to_the_bit(kind):
    settings = BalanceSettings(kind=kind, lookback=0.5, smoothing=0.5, every=3)
    whole, first = balance_of(settings, 7), balance_of(settings, 7)
    rows = history()
    expected = [dict(whole.weights(x)) for x in rows]
    for x in rows[:17]:
        first.weights(x)
    second = balance_of(settings, 7)
    second.load_state_dict(first.state_dict())
    assert [dict(second.weights(x)) for x in rows[17:]] == expected[17:]


@pytest.mark.parametrize("kind", ["relobralo", "softadapt"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_term_that_is_not_finite_changes_nothing(kind, bad):
    settings = BalanceSettings(kind=kind, every=2)
    one, other = balance_of(settings, 0), balance_of(settings, 0)
    for k, x in enumerate(history()):
        a = one.weights(x)
        if k == 4:
            other.weights(terms(bad, 1.0, 1.0))
        assert a == other.weights(x)


def test_a_term_without_samples_keeps_its_ratio():
    balance = Relobralo(BalanceSettings(kind="relobralo", temperature=1.0, smoothing=0.0))
    balance.weights(terms(1.0, 1.0))
    assert list(balance.weights(terms(0.0, 1.0)).values()) == pytest.approx([1.0, 1.0])
    found = list(balance.weights(terms(0.5, 1.0)).values())
    assert found == pytest.approx(softmax([0.5, 1.0]))


def test_fixed_weights_have_no_balance():
    assert balance_of(BalanceSettings(), 0) is None
