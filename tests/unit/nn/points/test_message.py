"""What points tell each other along edges."""

import pytest
import torch

import opdsl
from opdsl import Geometry, OpError, Packed
from opdsl.nn.points.message import Message

TEXT = """edition 2026

model M {
  domain M = mesh(2, geometry = per_sample)
  input f : M -> R^3
  output w : M -> R^3

  w = message(f, steps = 2, hidden = [5], act = tanh)  # op: allow(not-convergent)
}
"""
SIZES = (6, 9)


def shape(n):
    """A cloud with edges of both directions, an end of them, and points that hear nothing."""
    g = torch.Generator().manual_seed(n)
    edges = torch.unique(torch.randint(n - 1, (3 * n, 2), generator=g), dim=0)
    return Geometry(torch.rand(n, 2, generator=g, dtype=torch.float64), edges=edges)


def function(n):
    return torch.randn(3, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)


def model(**changes):
    torch.manual_seed(0)
    text = TEXT
    for old, new in changes.values():
        text = text.replace(old, new)
    return opdsl.compile(text).double()


def found_by_a_loop(module, geometry, f, *, mean=False):
    """Edge for edge, as it is written."""
    v, edges = list(f.T), geometry.edges.tolist()
    x = geometry.points
    step = {(j, i): x[j] - x[i] for j, i in edges}
    e = {k: module.begin(torch.cat((s, s.norm()[None]))) for k, s in step.items()}
    for tell, hear in zip(module.tell, module.hear, strict=True):
        f_ = torch.nn.Sequential(tell.first, *tell.rest)
        e = {(j, i): s + f_(torch.cat((s, v[j], v[i]))) for (j, i), s in e.items()}
        into = [[s for (_, k), s in e.items() if k == i] for i in range(len(v))]
        totals = [sum(x, torch.zeros(3).double()) / (max(len(x), 1) if mean else 1) for x in into]
        v = [a + hear(torch.cat((a, b))) for a, b in zip(v, totals, strict=True)]
    return torch.stack(v, 1)


def inside(net):
    return next(x for x in net.modules() if isinstance(x, Message))


@pytest.mark.parametrize("mean", [False, True])
def test_a_packed_batch_is_what_a_loop_over_edges_gives(mean):
    net = model(mean=("steps = 2", f"steps = 2, reduction = {'mean' if mean else 'sum'}"))
    shapes, fs = [shape(n) for n in SIZES], [function(n) for n in SIZES]
    found = net(Packed.of(fs), M=shapes)
    for x, f, y in zip(shapes, fs, found.parts, strict=True):
        torch.testing.assert_close(y, found_by_a_loop(inside(net), x, f, mean=mean))


def test_samples_that_share_a_mesh_are_each_alone():
    net, place = model(), shape(7)
    fs = torch.stack([function(7), function(7) + 1])
    torch.testing.assert_close(net(fs, M=place)[1], net(fs[1:], M=place)[0])
    torch.testing.assert_close(net(fs, M=[place, place])[1], net(fs[1:], M=place)[0])


def test_numbers_of_points_do_not_matter():
    net, n = model(), 8
    place, f = shape(n), function(n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    moved = Geometry(place.points[order], edges=torch.argsort(order)[place.edges])
    torch.testing.assert_close(net(f[None][..., order], M=moved), net(f[None], M=place)[..., order])


def test_a_shift_of_all_points_does_not_matter_and_a_period_is_gone_around():
    net, n = model(per=("geometry = per_sample", "geometry = per_sample, period = (1, 2)")), 8
    place, f = shape(n), function(n)[None]
    moved = place.points + torch.tensor([0.4, 0.7]).double()
    around = torch.remainder(moved, torch.tensor([1.0, 2.0]).double())
    torch.testing.assert_close(net(f, M=Geometry(around, edges=place.edges)), net(f, M=place))


def test_a_point_hears_as_far_as_there_are_steps():
    net, n = model(), 6
    line = torch.stack((torch.arange(n).double(), torch.zeros(n).double()), 1)
    place = Geometry(line, edges=torch.tensor([(i, i + 1) for i in range(n - 1)]))
    f = function(n)[None].requires_grad_()
    net(f, M=place)[0, :, 5].square().sum().backward()
    assert [bool(x) for x in f.grad[0].abs().sum(0)] == [False, False, False, True, True, True]


def test_corners_of_a_cell_are_joined_both_ways():
    net, cells = model(), torch.tensor([[0, 1, 2], [1, 3, 2]])
    points, f = shape(4).points, function(4)[None]
    pairs = [(a, b) for x in cells.tolist() for a in x for b in x if a != b]
    edges = torch.tensor(sorted(set(pairs)))
    found = net(f, M=Geometry(points, cells=cells))
    torch.testing.assert_close(found, net(f, M=Geometry(points, edges=edges)))


def test_points_without_edges_and_cells_are_refused():
    with pytest.raises(OpError, match="neither edges nor cells") as found:
        model()(function(5)[None], M=shape(5).points)
    assert found.value.diagnostics[0].code == "OP0907"


def test_a_grid_has_no_edges():
    text = TEXT.replace("mesh(2, geometry = per_sample)", "grid(x: 0..1)")
    assert "OP0301" in [x.code for x in opdsl.check(text).errors]


def test_a_denser_mesh_is_another_operator_and_this_is_said():
    found = opdsl.check(TEXT.replace("  # op: allow(not-convergent)", ""))
    assert [x.code for x in found.diagnostics] == ["OP0412"]
