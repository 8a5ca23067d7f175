"""Sums over pairs by kernels: against the same sum in float64, all pairs at once."""

from itertools import pairwise

import pytest
import torch

from opdsl.nn.kernels import fourier_layer, pairs
from opdsl.nn.layers.pointwise import ACTIVATIONS
from opdsl.nn.points.integral import chunked_sum
from opdsl.nn.points.integral.kernel_sum import Terms, kernel_sum
from opdsl.nn.points.neighbours.search import Pairs

needs_kernels = pytest.mark.skipif(
    not fourier_layer.kernels_available(), reason="no compiled kernels here"
)

POINTS, QUERIES, PAIRS = 40, 30, 500
# values, matrix in one row, widths of the layers behind the first, batch, channels
FORMS = {
    "diagonal": (True, False, (33, 20), 1, 20),
    "diagonal, one layer": (True, False, (5,), 3, 5),
    "diagonal, wide": (True, False, (130, 70, 18), 2, 18),
    "diagonal, wide to the end": (True, False, (64, 130, 50), 1, 50),
    "matrix": (True, True, (16, 6), 1, 3),
    "matrix of one channel": (True, True, (17, 9, 4), 2, 1),
    "matrix, one layer": (True, True, (20,), 1, 5),
    "kernel alone": (False, False, (33, 7), 1, 0),
}


def drawn_pairs():
    """Queries of very unequal numbers of neighbours, some of none."""
    random = torch.Generator().manual_seed(0)
    queries = (torch.rand(PAIRS, generator=random) ** 2 * (QUERIES - 3)).long().sort().values
    points = torch.randint(POINTS, (PAIRS,), generator=random)
    return listed(points, queries)


def listed(points, queries):
    counts = torch.bincount(queries, minlength=QUERIES)
    return Pairs(points, queries, counts, torch.cat((torch.zeros(1), counts.cumsum(0))).long())


def drawn(form, *, weighed=True, first=24):
    """Terms and layers, in float32."""
    valued, _, widths, batch, channels = FORMS[form]
    random = torch.Generator().manual_seed(1)

    def some(*shape):
        return torch.randn(*shape, generator=random)

    values = some(POINTS, batch, channels) if valued else None
    weights = some(PAIRS) if weighed else None
    terms = Terms(some(POINTS, 1, first), some(QUERIES, first), values, weights)
    sizes = (first, *widths)
    return terms, [(some(b, a) / a**0.5, some(b)) for a, b in pairwise(sizes)]


def leaves(terms, layers, dtype):
    given = (terms.at_points, terms.at_queries, terms.values, terms.weights)
    flat = [y for x in layers for y in x]
    return [None if x is None else x.to(dtype).requires_grad_() for x in (*given, *flat)]


def run(form, act="gelu", dtype=torch.float32, **more):
    """The sum, and the gradients of all that it is made of."""
    own = leaves(*drawn(form, **more), dtype)
    flat = own[4:]
    layers = list(zip(flat[::2], flat[1::2], strict=True))
    full = FORMS[form][1]
    found = kernel_sum(Terms(*own[:4]), drawn_pairs(), layers, ACTIVATIONS[act], full=full)
    mix = torch.randn(found.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    wanted = [x for x in own if x is not None]
    return [found.detach(), *torch.autograd.grad(found, wanted, mix)]


def apart(found, exact):
    return max(float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True))


@pytest.fixture
def calls(monkeypatch):
    """Names of the kernels that run."""
    seen = []
    plain = pairs.PairSum._run

    def watched(self, name, *more):
        seen.append(name)
        plain(self, name, *more)

    monkeypatch.setattr(pairs.PairSum, "_run", watched)
    return seen


@needs_kernels
@pytest.mark.parametrize("weighed", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_kernels_give_the_sum_and_all_gradients_of_float64(form, weighed, calls):
    found = run(form, weighed=weighed)
    assert set(calls) == {"pairs_forward", "pairs_backward"}
    assert apart(found, run(form, weighed=weighed, dtype=torch.float64)) < 1e-6


@pytest.fixture(params=["tiles", "vectors"])
def unit(request):
    """With the processor's tile units, and without."""
    wanted = request.param == "tiles"
    if not fourier_layer.kernels_available():
        pytest.skip("no compiled kernels here")
    if pairs.library().use_tiles(wanted) != wanted:
        pytest.skip("this processor has no tile units, or its system keeps them")
    yield
    pairs.library().use_tiles(True)


@needs_kernels
@pytest.mark.usefixtures("unit")
@pytest.mark.parametrize("act", ["gelu", "relu"])
@pytest.mark.parametrize("kept", [0, chunked_sum.MAX_SAVED])
@pytest.mark.parametrize("form", ["diagonal, wide", "diagonal, wide to the end", "matrix"])
def test_both_units_of_the_processor_are_as_near_to_float64(form, kept, act, monkeypatch):
    monkeypatch.setattr(chunked_sum, "MAX_SAVED", kept)
    found = run(form, act, first=40)
    assert apart(found, run(form, act, torch.float64, first=40)) < 1e-6


@needs_kernels
@pytest.mark.usefixtures("unit")
def test_a_tile_is_cut_without_loss_at_any_size(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    exact = run("diagonal, wide", dtype=torch.float64)
    for size in (1e-12, 1.0, 1e12):
        terms, layers = drawn("diagonal, wide")
        values = terms.values * size
        scaled = Terms(terms.at_points, terms.at_queries, values, terms.weights)
        found = kernel_sum(scaled, drawn_pairs(), layers, ACTIVATIONS["gelu"], full=False)
        assert apart([found / size], exact[:1]) < 1e-6


@needs_kernels
def test_so_they_do_with_another_activation(calls):
    assert apart(run("diagonal", act="relu"), run("diagonal", "relu", torch.float64)) < 1e-6
    assert calls


@needs_kernels
@pytest.mark.parametrize("form", ["diagonal, wide", "matrix"])
def test_pieces_of_the_pairs_and_layers_computed_again_change_rounding_only(form, monkeypatch):
    exact = run(form, dtype=torch.float64)
    monkeypatch.setattr(chunked_sum, "MAX_SAVED", 0)
    assert apart(run(form), exact) < 1e-6


@needs_kernels
@pytest.mark.parametrize("form", ["diagonal", "matrix"])
def test_threads_have_whole_queries_and_the_same_bits_each_time(form, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    found = run(form)
    assert apart(found, run(form, dtype=torch.float64)) < 1e-6
    assert all(torch.equal(a, b) for a, b in zip(found, run(form), strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_without_kernels_torch_gives_the_same(form, monkeypatch):
    monkeypatch.setattr(pairs, "library", lambda: None)
    assert apart(run(form), run(form, dtype=torch.float64)) < 1e-6


@pytest.mark.parametrize("act", ["tanh", "silu"])
def test_an_activation_that_kernels_do_not_know_is_that_of_torch(act, calls):
    assert apart(run("diagonal", act=act), run("diagonal", act, torch.float64)) < 1e-6
    assert not calls


@needs_kernels
def test_no_pairs_are_a_sum_of_nothing():
    terms, layers = drawn("diagonal", weighed=False)
    none = torch.zeros(0, dtype=torch.long)
    terms.at_points.requires_grad_()
    found = kernel_sum(terms, listed(none, none), layers, ACTIVATIONS["gelu"], full=False)
    found.sum().backward()
    assert not found.any()
    assert not terms.at_points.grad.any()
