"""Random Fourier series against sums of exponentials, and threads that keep the order."""

import threading
import time

import numpy as np
import pytest

from opdsl.data.generate.parallel import in_parallel
from opdsl.data.generate.sampling.fourier import (
    coefficients_of,
    fourier_values,
    frequencies,
    gaussian_series,
    on_grid,
    truncated,
)
from opdsl.sampling import PERIODIC, positions

MODES = 5


def sample(dims, seed=0, modes=MODES):
    k = frequencies(modes, dims)
    return gaussian_series(seed, 1, np.ones(np.broadcast_shapes(*(x.shape for x in k))))


def summed(c, x, dims):
    """The real part of the sum over all frequencies, the conjugate ones by their count."""
    ks = np.meshgrid(*(k.ravel() for k in frequencies(c.shape[-1] - 1, dims)), indexing="ij")
    weight = np.where(ks[-1] == 0, 1, 2)
    waves = c * weight
    points = np.meshgrid(*[x] * dims, indexing="ij")
    angle = sum(np.multiply.outer(p, k) for p, k in zip(points, ks, strict=True))
    return (np.exp(2j * np.pi * angle) * waves).sum(tuple(range(-dims, 0))).real


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("sampling", PERIODIC)
@pytest.mark.parametrize("n", [3, 8, 12])
def test_values_are_those_of_the_sum_on_every_sampling(dims, sampling, n):
    c = sample(dims)
    expected = summed(c, np.array(positions(sampling, n)), dims)
    assert fourier_values(c, sampling, n, dims) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dims", [1, 2])
def test_coefficients_come_back_from_values_and_through_more_frequencies(dims):
    c = sample(dims)
    assert coefficients_of(on_grid(c, 11, dims), MODES, dims) == pytest.approx(c, abs=1e-13)
    wide = truncated(c, 9, dims)
    assert truncated(wide, MODES, dims) == pytest.approx(c)
    assert on_grid(wide, 20, dims) == pytest.approx(on_grid(c, 20, dims), abs=1e-12)
    low = truncated(c, 2, dims)
    assert coefficients_of(on_grid(c, 16, dims), 2, dims) == pytest.approx(low, abs=1e-13)


@pytest.mark.parametrize("dims", [1, 2])
def test_random_series_have_no_mean_and_the_variance_of_their_law(dims):
    k = frequencies(3, dims)
    sigma = 1 / (1 + sum(x**2 for x in k))
    u = np.stack([on_grid(gaussian_series(3, i, sigma), 8, dims) for i in range(2000)])
    assert np.abs(u.mean(tuple(range(1, dims + 1)))).max() < 1e-14
    # each frequency, with its conjugate, adds 2 sigma^2; with k_y = 0 both halves are listed
    full = np.where(k[-1] == 0, 1, 2) * sigma**2
    expected = full.sum() - 1
    variance = (u**2).mean(0)
    assert variance == pytest.approx(np.full_like(variance, expected), rel=0.15)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_keep_the_order_of_the_tasks(workers):
    def slow_first(i):
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    with in_parallel(slow_first, range(20), workers) as results:
        assert list(results) == [i * i for i in range(20)]


def test_an_early_end_starts_no_more_tasks():
    begun = []
    with in_parallel(lambda i: begun.append(i) or i, range(1000), 2) as results:
        assert next(results) == 0
    assert len(begun) < 20
    assert not [t for t in threading.enumerate() if t.name.startswith("generate")]


def test_an_error_of_a_task_reaches_the_reader():
    def fails(i):
        return 1 // (3 - i)

    with in_parallel(fails, range(10), 2) as results, pytest.raises(ZeroDivisionError):
        list(results)
