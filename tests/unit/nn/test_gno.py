"""Kernel integrals: neighbours by all distances, sums point by point, refinement."""

from pathlib import Path

import pytest
import torch

import opdsl
from opdsl import OpError
from opdsl.nn.gno import Gno
from opdsl.nn.neighbours import within


def module(widths=(4, 8, 2), radius=0.4, **more):
    torch.manual_seed(0)
    options = {"act": "tanh", "sees": False, "mean": True, "nearest": False} | more
    return Gno(None, None, widths, radius, **options).double()


def cloud(*shape: int, seed: int = 1):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_neighbours_are_those_of_all_distances(d):
    points, queries = cloud(60, d), cloud(20, d, seed=2)
    found = within(points, queries, 0.5)
    matrix = torch.cdist(queries, points) <= 0.5
    assert torch.equal(torch.stack((found.queries, found.points), 1), matrix.nonzero())
    assert torch.equal(found.counts, matrix.sum(1))


@pytest.mark.parametrize("sees", [False, True])
@pytest.mark.parametrize("mean", [False, True])
def test_the_integral_is_the_sum_point_by_point(sees, mean):
    net = module((6 if sees else 4, 8, 2), sees=sees, mean=mean)
    p, q, v = cloud(1, 50, 2), cloud(1, 9, 2, seed=2), cloud(3, 50, 2, seed=3)
    found = net(v, (9,), (p, q))
    network = torch.nn.Sequential(net.first, *net.rest)
    for b in range(3):
        for i in range(9):
            near = [j for j in range(50) if torch.dist(p[0, j], q[0, i]) <= 0.4]
            terms = []
            for j in near:
                seen = torch.cat((q[0, i], p[0, j], *([v[b, j]] if sees else [])))
                terms.append(network(seen) * v[b, j])
            expected = torch.stack(terms).sum(0) / (len(near) if mean else 1)
            torch.testing.assert_close(found[b, i], expected)


def test_samples_with_points_of_their_own_are_as_one_at_a_time():
    net = module()
    p, q, v = cloud(3, 50, 2), cloud(3, 9, 2, seed=2), cloud(3, 50, 2, seed=3)
    whole = net(v, (9,), (p, q))
    for b in range(3):
        one = slice(b, b + 1)
        torch.testing.assert_close(whole[one], net(v[one], (9,), (p[one], q[one])))


def test_the_order_of_the_points_does_not_matter():
    net, p, q, v = module(), cloud(1, 50, 2), cloud(1, 9, 2, seed=2), cloud(2, 50, 2, seed=3)
    order = torch.randperm(50)
    torch.testing.assert_close(net(v[:, order], (9,), (p[:, order], q)), net(v, (9,), (p, q)))


def test_new_coordinates_in_the_same_memory_are_searched_again():
    net, p, q, v = module(), cloud(1, 50, 2), cloud(1, 9, 2, seed=2), cloud(2, 50, 2, seed=3)
    net(v, (9,), (p, q))
    p.copy_(cloud(1, 50, 2, seed=7))
    torch.testing.assert_close(net(v, (9,), (p, q)), module()(v, (9,), (p.clone(), q)))


def test_a_finer_grid_leads_to_the_integral():
    """The mean over a ball tends to its integral; the error falls as the grid is refined."""
    text = """edition 2026
model M {
  domain D = grid(x: 0..1, y: 0..1, min = 8)
  domain Q = points(2)
  input v : D -> R^1
  output w : Q -> R^1
  w = gno(v, to = Q, radius = 0.25, kernel = [8], act = tanh)
}"""
    torch.manual_seed(0)
    net = opdsl.compile(text).double()
    q = 0.3 + 0.4 * cloud(40, 2)

    def at(n):
        x, y = torch.meshgrid(*(torch.linspace(0, 1, n, dtype=torch.float64),) * 2, indexing="ij")
        return net((x * y + torch.cos(3 * x))[None, None], Q=q)

    finest = at(513)
    errors = [(at(n) - finest).norm().item() for n in (17, 33, 65, 129)]
    assert errors[-1] < errors[0] / 8
    assert errors[-1] < 2e-2 * finest.norm().item()


def test_a_query_without_neighbours_is_an_error_with_a_radius_that_would_do():
    p, q, v = torch.zeros(1, 3, 2).double(), torch.ones(1, 5, 2).double(), cloud(1, 3, 2)
    with pytest.raises(OpError) as caught:
        module()(v, (5,), (p, q))
    found = caught.value.diagnostics[0]
    assert found.code == "OP0908"
    assert "5 of 5" in found.message
    assert "1.414" in found.helps[0].text
    assert module(nearest=True)(v, (5,), (p, q)).shape == (1, 5, 2)


def test_coordinates_that_are_no_numbers_are_refused():
    with pytest.raises(OpError) as caught:
        within(torch.full((3, 2), torch.nan), torch.zeros(1, 2), 1.0)
    assert caught.value.diagnostics[0].code == "OP0612"


def test_gino_goes_from_points_over_a_grid_to_points():
    text = Path("tests/data/language/gino.op").read_text("utf-8")
    near = opdsl.compile(
        text.replace("to = L,", "empty = nearest, to = L,"), latent=33, width=4, radius=0.3
    )
    strict = opdsl.compile(text, latent=33, width=4, radius=0.3)
    sdf = torch.randn(1, 1, 33, 33, 33)
    for n in (200, 300):
        axis = torch.linspace(-1, 1, n)
        p, f = torch.stack((axis, axis.sin(), axis.cos()), 1) * 0.9, torch.randn(1, 3, n)
        assert near(sdf, f, P=p, Q=p[:50]).shape == (1, 1, 50)
        with pytest.raises(OpError) as caught:  # most of the latent grid is far from the surface
            strict(sdf, f, P=p, Q=p[:50])
        assert caught.value.diagnostics[0].code == "OP0908"
    near(sdf, f, P=p, Q=p[:50]).square().sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in near.parameters())
