"""Sums over pairs in chunks: the same sum and gradients as all pairs at once, in bounded memory."""

import pytest
import torch
from torch import nn

from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.integral import chunked_sum
from opdsl.nn.points.integral.gno import Gno, Side
from opdsl.nn.points.integral.sum_terms import KernelSum
from opdsl.nn.points.neighbours.search import NeighbourRule, neighbours

KINDS = ("linear", "nonlinear", "linear_kernelonly", "nonlinear_kernelonly")
FORMS = [(kind, "diagonal") for kind in KINDS] + [("linear", "full"), ("nonlinear", "full")]
N, M, C, OUT, RADIUS = 23, 7, 2, 3, 0.6


def cloud(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(kind, matrix, *, hidden=(6, 5), **more) -> Gno:
    torch.manual_seed(0)
    full, alone = matrix == "full", kind.endswith("kernelonly")
    last = OUT * C if full else OUT if alone else C
    seen = 4 + (C if kind.startswith("nonlinear") else 0)
    widths = (seen, *hidden, last)
    more = {"act": "gelu", "kind": kind, "full": full, "reduction": "sum"} | more
    return Gno(Side(), Side(), widths, NeighbourRule(RADIUS), **more).double()


def given(batch=2):
    return cloud(batch, N, C, seed=3), cloud(N, 2, seed=1), cloud(M, 2, seed=2)


def run(net, v, y, x):
    return net(v, (len(x),), ((Geometry(y),), (Geometry(x),)))


def dense(net, v, y, x):
    """By the kernel at all pairs, in one piece."""
    b, n, m = len(v), len(y), len(x)
    seen = [x[None, :, None].expand(b, m, n, 2), y[None, None].expand(b, m, n, 2)]
    if net.kind.startswith("nonlinear"):
        seen.append(v[:, None].expand(b, m, n, C))
    k = nn.Sequential(net.first, *net.rest)(torch.cat(seen, -1))
    near = (torch.cdist(x, y) <= RADIUS).to(v.dtype)
    if net.kind.endswith("kernelonly"):
        return torch.einsum("bmno,mn->bmo", k, near)
    if net.full:
        return torch.einsum("bmnoc,bnc,mn->bmo", k.unflatten(-1, (-1, C)), v, near)
    return torch.einsum("bmnc,bnc,mn->bmc", k, v, near)


@pytest.fixture(params=["one", "kept", "again"])
def chunks(request, monkeypatch):
    """One chunk of all pairs, or chunks of few, whose layers are kept or computed again."""
    if request.param != "one":
        monkeypatch.setattr(chunked_sum, "CPU_CHUNK", 500)
    if request.param == "again":
        monkeypatch.setattr(chunked_sum, "MAX_SAVED", 0)
    return request.param


@pytest.mark.parametrize("hidden", [(6,), (6, 5), (5, 6, 4)])
@pytest.mark.parametrize(("kind", "matrix"), FORMS)
def test_the_sum_and_its_gradients_are_those_of_the_kernel_at_all_pairs(
    kind, matrix, hidden, chunks
):
    net, places = made(kind, matrix, hidden=hidden), [x.requires_grad_() for x in given()]
    tensors = [*places, *net.parameters()]
    found, expected = run(net, *places), dense(net, *places)
    torch.testing.assert_close(found, expected)
    mix = cloud(*found.shape, seed=5)
    with_unused = {"allow_unused": True, "materialize_grads": True}
    torch.testing.assert_close(
        torch.autograd.grad(found, tensors, mix, **with_unused),
        torch.autograd.grad(expected, tensors, mix, **with_unused),
    )
    with torch.no_grad():
        torch.testing.assert_close(run(net, *places), expected)
    assert chunks


@pytest.mark.parametrize(("kind", "matrix"), FORMS)
def test_derivatives_of_derivatives_are_those_of_the_kernel_at_all_pairs(kind, matrix):
    net, places = made(kind, matrix), [x.requires_grad_() for x in given()]
    second = []
    for way in (run, dense):
        (slope,) = torch.autograd.grad(
            way(net, *places).square().sum(), places[2], create_graph=True
        )
        second.append(torch.autograd.grad(slope.square().sum(), [*places[1:], *net.parameters()],
                                          allow_unused=True, materialize_grads=True))  # fmt: skip
    torch.testing.assert_close(*second)


def test_chunks_have_as_many_pairs_as_their_bound_allows(monkeypatch):
    pairs = neighbours(
        Geometry(cloud(50, 2, seed=1)), Geometry(cloud(40, 2, seed=2)), NeighbourRule(0.5)
    )
    monkeypatch.setattr(chunked_sum, "CPU_CHUNK", 16 * 8 * 10)  # ten pairs of sixteen numbers
    sum_ = KernelSum(pairs, torch.tanh, outer=False, last=False, keep=False)
    flat = [torch.zeros(16, 8, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)]
    found = list(chunked_sum._chunks(sum_, torch.zeros(50, 1, 8).double(), None, flat))
    size = 10 * torch.get_num_threads()
    assert {len(x.points) for x in found[:-1]} == {size}
    assert torch.equal(torch.cat([x.queries for x in found]), pairs.queries)


def test_layers_beyond_the_bound_are_not_kept(monkeypatch):
    net, numbers = made("linear", "diagonal", hidden=(6, 5)), []
    for saved in (1 << 30, 0):
        monkeypatch.setattr(chunked_sum, "MAX_SAVED", saved)
        held: list[int] = []

        def pack(x, held=held):
            held.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            run(net, *given())
        numbers.append(sum(held))
    pairs = int((torch.cdist(*reversed(given()[1:])) <= RADIUS).sum())
    assert numbers[0] - numbers[1] == pairs * (6 + 5)


@pytest.mark.parametrize(("kind", "matrix"), FORMS)
def test_half_precision_adds_up_in_single(kind, matrix):
    net, (v, y, x) = made(kind, matrix).float(), (z.float() for z in given())
    exact = run(net, v, y, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = run(net, v, y, x)
    assert ((narrow - exact).norm() / exact.norm()).item() < 0.02


@pytest.mark.parametrize(("kind", "matrix"), FORMS)
def test_a_query_without_neighbours_is_zero_where_that_is_declared(kind, matrix):
    net = made(kind, matrix, reduction="mean")
    net.rule = NeighbourRule(RADIUS, allow_isolated=True)
    v, y, x = given()
    far = torch.cat((x, x.new_full((1, 2), 9.0)))
    found = run(net, v, y, far)
    assert torch.equal(found[:, -1], torch.zeros_like(found[:, -1]))
    torch.testing.assert_close(found[:, :-1], run(net, v, y, x))


def test_very_unequal_numbers_of_neighbours_do_not_matter_to_a_matrix():
    net = made("linear", "full")
    y = torch.cat((0.01 * cloud(40, 2, seed=1), 1 + 0.01 * cloud(1, 2, seed=2)))
    x, v = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double(), cloud(2, 41, C, seed=3)
    torch.testing.assert_close(run(net, v, y, x), dense(net, v, y, x))
