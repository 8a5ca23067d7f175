"""Derivatives at points are those of the model by its own coordinates."""

import math

import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.packed import Packed
from opdsl.train.engine.loader import Batch
from opdsl.train.physics.points import PointCalculus, differentiable
from opdsl.train.physics.time import step_derivative

PROGRAM = """
edition 2026

model M {
  domain P = points(2, geometry = per_sample)
  input f : P -> R^1
  output u : P -> R^1
  u = concat(f, coords(P)) |> linear(out = 8) |> tanh() |> linear(out = 1)
}
"""


def leaves(count, n=7, dims=2):
    random = torch.Generator().manual_seed(1)
    points = torch.rand(count, n, dims, generator=random, dtype=torch.float64)
    return tuple(x.clone().requires_grad_() for x in points)


def test_closed_forms_of_all_operators():
    coordinates = leaves(3)
    calculus = PointCalculus(coordinates)
    scale = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    x, y = torch.stack(coordinates).unbind(-1)
    u = (scale[:, None] * x.sin() * y**2)[:, None]
    gradient = calculus.grad(u)
    expected = torch.stack([x.cos() * y**2, 2 * x.sin() * y], 1) * scale[:, None, None]
    assert torch.allclose(gradient, expected)
    laplace = scale[:, None] * (2 * x.sin() - x.sin() * y**2)
    assert torch.allclose(calculus.laplace(u)[:, 0], laplace)
    assert torch.allclose(calculus.d(u, 1, 2)[:, 0], scale[:, None] * 2 * x.sin())
    assert calculus.curl(gradient).abs().max() < 1e-12


def test_packed_samples_have_derivatives_of_their_own():
    parts = (leaves(1, 4)[0], leaves(1, 6)[0])
    calculus = PointCalculus(parts, packed=True)
    u = torch.cat([(k + 1) * x[:, 0] ** 2 for k, x in enumerate(parts)])[None, None]
    expected = torch.cat([2 * (k + 1) * x[:, 0] for k, x in enumerate(parts)])
    assert torch.allclose(calculus.d(u, 0)[0, 0], expected)
    assert calculus.mean(u).shape == (2, 1)
    mean = (2 * parts[1][:, 0] ** 2).mean()
    assert torch.allclose(calculus.mean(u)[1, 0], mean)


def test_integrals_use_the_quadrature_weights():
    weights = torch.tensor([0.5, 1.5, 2.0], dtype=torch.float64)[None, None]
    calculus = PointCalculus(leaves(1, 3), weights)
    u = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[None, None]
    assert float(calculus.integrate(u)) == pytest.approx(9.5)
    assert float(calculus.mean(u)) == pytest.approx(9.5 / 4)


@pytest.mark.parametrize("packed", [False, True])
def test_derivatives_go_through_a_compiled_model(tmp_path, packed):
    program = tmp_path / "m.op"
    program.write_text(PROGRAM)
    model = opdsl.compile(program).double()
    sizes = (5, 8) if packed else (5, 5)
    random = torch.Generator().manual_seed(0)
    places = tuple(Geometry(torch.rand(n, 2, generator=random).double()) for n in sizes)
    parts = [torch.rand(1, n, generator=random).double() for n in sizes]
    f = Packed.of(parts) if packed else torch.stack(parts)
    batch = differentiable(Batch({"f": f}, {}, {"P": places}), frozenset({"P"}))
    coordinates = tuple(x.points for x in batch.places["P"])
    values = model(f=f, P=batch.places["P"])
    values = values.values if packed else values
    calculus = PointCalculus(coordinates, packed=packed)
    slope = calculus.d(values, 0)

    def at(shift):
        moved = tuple(Geometry(x.points + torch.tensor([shift, 0.0])) for x in places)
        with torch.no_grad():
            result = model(f=f, P=moved)
        return result.values if packed else result

    expected = (at(1e-5) - at(-1e-5)) / 2e-5
    assert torch.allclose(slope, expected, atol=1e-8)
    laplace = calculus.laplace(values).square().mean()
    laplace.backward()
    assert all(x.grad is not None for x in list(model.parameters())[:2])


def test_points_that_all_samples_share_get_coordinates_of_their_own():
    place = Geometry(torch.rand(4, 2))
    batch = Batch({"f": torch.zeros(3, 1, 4)}, {}, {"P": (place,), "Q": (place,)})
    made = differentiable(batch, frozenset({"P"}))
    assert len(made.places["P"]) == 3
    assert all(x.points.requires_grad and x.key == place.key for x in made.places["P"])
    assert made.places["Q"] == (place,)


@pytest.mark.parametrize("u", [torch.zeros(1, 1, 3), torch.zeros(1, 1, 3, requires_grad=True)])
def test_functions_that_do_not_depend_on_the_coordinates_are_refused(u):
    with pytest.raises(OpError, match="OP0721"):
        PointCalculus(leaves(1, 3)).d(u * 1, 0)


def test_the_derivative_along_steps_is_of_second_order():
    errors = []
    for n in (21, 41):
        t = torch.linspace(0, 1, n, dtype=torch.float64)
        u = (3 * t).sin().reshape(1, n, 1, 1)
        found = step_derivative(u, step=1 / (n - 1)).flatten()
        errors.append(float((found - 3 * (3 * t).cos()).abs().max()))
    assert 1.7 < math.log2(errors[0] / errors[1]) < 2.3


def test_one_step_has_no_derivative_in_time():
    with pytest.raises(OpError, match="OP0720"):
        step_derivative(torch.zeros(1, 1, 1, 4))
