"""The models of random shapes in the plane, on triangles of a disk."""

import math

import pytest
import torch

import opdsl
from opdsl import Geometry, Packed, resources

SPECS = (
    "transolver",
    "operator_transformer",
    "gno_poisson",
    "gno_mollified",
    "multipole_gno_poisson",
)


def disk(rings: int) -> Geometry:
    """Rings of points around the centre, with the area that each stands for."""
    points, areas = [(0.0, 0.0)], [math.pi / (4 * rings**2)]
    for k in range(1, rings + 1):
        count, r = 6 * k, k / rings
        outer, inner = min(1.0, r + 0.5 / rings), r - 0.5 / rings
        points += [
            (r * math.cos(2 * math.pi * i / count), r * math.sin(2 * math.pi * i / count))
            for i in range(count)
        ]
        areas += [math.pi * (outer**2 - inner**2) / count] * count
    return Geometry(torch.tensor(points).double(), weights=torch.tensor(areas).double())


def functions(place: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = place.points.T
    return (torch.sin(2 * x) * y)[None], (x * x - y)[None]


def model(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return opdsl.compile(resources.root("specs") / f"{name}.op").double()


def called(module, place: Geometry, queries: Geometry) -> torch.Tensor:
    forcing, boundary = functions(place)
    asked = {x.name: {"P": place, "Q": queries}[x.name] for x in module.graph.side_inputs()}
    return module(forcing[None], boundary[None], **asked)


def test_the_areas_of_the_disk_add_up():
    assert float(disk(9).weights.sum()) == pytest.approx(math.pi, rel=1e-6)


@pytest.mark.parametrize("name", SPECS)
def test_a_packed_call_is_each_shape_alone_and_every_weight_learns(name):
    module, places = model(name), [disk(9), disk(12)]
    forcing, boundary = (Packed.of(x) for x in zip(*map(functions, places), strict=True))
    asked = {x.name: places for x in module.graph.side_inputs()}
    found = module(forcing, boundary, **asked)
    for part, place in zip(found.parts, places, strict=True):
        torch.testing.assert_close(part, called(module, place, place)[0], rtol=1e-6, atol=1e-8)
    found.values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


@pytest.mark.parametrize("name", SPECS)
def test_a_finer_mesh_asks_for_the_same_operator(name):
    module, queries = model(name), disk(5)
    with torch.no_grad():
        coarse, fine, limit = (_at(module, disk(n), queries) for n in (10, 20, 40))
    whole = limit.norm()
    assert (coarse - limit).norm() / whole < 0.1
    assert (fine - limit).norm() < 0.6 * (coarse - limit).norm()


def _at(module, place: Geometry, queries: Geometry) -> torch.Tensor:
    """The result at the points of the coarsest disk, which all finer ones have too."""
    found = called(module, place, queries)[0, 0]
    if len(found) == len(queries):
        return found
    apart = torch.cdist(queries.points, place.points)
    assert float(apart.min(1).values.max()) < 1e-6
    return found[apart.argmin(1)]


def test_derivatives_by_the_query_points_are_differences():
    """du/dq of a mollified decoder, in float64, against central differences."""
    module, place = model("gno_mollified"), disk(9)
    points = (0.7 * disk(3).points[1:5]).requires_grad_()
    u = called(module, place, Geometry(points))[0, 0]
    (slopes,) = torch.autograd.grad(u.sum(), points)
    h = 1e-5
    with torch.no_grad():
        for axis in range(2):
            step = torch.zeros(2, dtype=torch.float64)
            step[axis] = h
            ends = [called(module, place, Geometry(points + s * step))[0, 0] for s in (1, -1)]
            expected = (ends[0] - ends[1]) / (2 * h)
            torch.testing.assert_close(slopes[:, axis], expected, rtol=1e-5, atol=1e-8)


def test_a_loss_of_derivatives_teaches_every_weight():
    module, place = model("gno_mollified"), disk(9)
    points = (0.7 * disk(3).points[1:5]).requires_grad_()
    u = called(module, place, Geometry(points))[0, 0]
    (slopes,) = torch.autograd.grad(u.sum(), points, create_graph=True)
    slopes.square().sum().backward()
    still = [k for k, p in module.named_parameters() if p.grad is None or not p.grad.abs().max()]
    assert still == ["solution.project.w.linear_2.bias"]  # what is added last has no slope
