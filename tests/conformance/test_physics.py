"""Equations of `std.physics` vanish for exact solutions, or fall at the stated order."""

import math

import pytest
import torch

from opdsl.compiler import check
from opdsl.train.config.schema import Settings
from opdsl.train.engine.loader import Batch
from opdsl.train.losses.objective import LossInputs
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.losses.objectives import objective_of
from opdsl.workflow.losses.terms import typed_losses

PROGRAM = """
edition 2026

{imports}

model M {{
  domain D = grid({axes}, min = 4)
  input a : D -> R^1
  input f : D -> R^{channels}
  output u : D -> R^1
  output v : D -> R^{channels}
  u = a |> linear(out = 1)
  v = f |> linear(out = {channels})
}}
"""
PLANE = "x: 0..1, y: 0..2, t: 0..1, boundary = periodic"
K, Q = 2 * math.pi, math.pi
NU, G, F = 0.3, 9.81, 1.7


def residual(loss, axes, u, v=None, a=None, f=None):
    """The value of a loss for given functions, each (channels, *grid), in float64."""
    names = sorted({x for x in NAMES if f"{x}(" in loss})
    channels = 1 if v is None and f is None else len(f if v is None else v)
    imports = f"from std.physics import {', '.join(names)}" if names else ""
    text = PROGRAM.format(imports=imports, axes=axes, channels=channels)
    checked = check(text)
    graph = checked.sound()
    terms = typed_losses(graph, Settings(loss=loss), checked.file, None).loss
    plain = torch.zeros_like(u)
    vector = plain.expand(channels, *plain.shape[1:])
    inputs = {"a": plain if a is None else a, "f": vector if f is None else f}
    outputs = {"u": u, "v": vector if v is None else v}
    batch = Batch({k: x[None] for k, x in inputs.items()}, {})
    values = {k: x[None] for k, x in outputs.items()}
    found = objective_of(graph, terms)(LossInputs(values, batch, {}, Normaliser({}, {})))
    return float(found.total)


NAMES = (
    *("poisson", "darcy", "darcy_smooth", "heat", "burgers", "transport", "vorticity"),
    *("momentum", "incompressible", "shallow_water_mass", "shallow_water_flow"),
)


def plane(n=12):
    lines = [torch.arange(n, dtype=torch.float64) * length / n for length in (1.0, 2.0, 1.0)]
    return torch.meshgrid(*lines, indexing="ij")


def one(x):
    return x[None]


X, Y, T = plane()
WAVE = (K * X).sin() * (Q * Y).cos()
TAYLOR_GREEN = torch.stack([(K * X).sin() * (Q * Y).cos() / K, -(K * X).cos() * (Q * Y).sin() / Q])
HEIGHT = 1 + 0.1 * (Q * Y).cos()


def darcy_source():
    """Return -div(a grad u) for a = 2 + cos(Q y) and u = WAVE."""
    a, a_y = 2 + (Q * Y).cos(), -Q * (Q * Y).sin()
    u_y = -Q * (K * X).sin() * (Q * Y).sin()
    return a * (K * K + Q * Q) * WAVE - a_y * u_y


PERIODIC = {
    "poisson": ("rmse(poisson(u, f))", {"u": one(WAVE), "f": one((K * K + Q * Q) * WAVE)}),
    "darcy_smooth": (
        "rmse(darcy_smooth(a, u, f))",
        {"u": one(WAVE), "a": one(2 + (Q * Y).cos()), "f": one(darcy_source())},
    ),
    "heat": (
        f"rmse(heat(u, k = {NU}, f = f))",
        {
            "u": one(WAVE * (K * T).cos()),
            "f": one(WAVE * (NU * (K * K + Q * Q) * (K * T).cos() - K * (K * T).sin())),
        },
    ),
    "transport": (  # of a wave by the velocity 1 along x
        "rmse(transport(u, v, nu = 0))",
        {
            "u": one((K * (X - T)).sin()),
            "v": torch.stack([torch.ones_like(X), torch.zeros_like(X)]),
        },
    ),
    "vorticity": (  # of a Taylor-Green vortex that a force keeps up
        f"rmse(vorticity(u, nu = {NU}, f = f))",
        {"u": one(WAVE), "f": one(NU * (K * K + Q * Q) * WAVE)},
    ),
    "incompressible": ("rmse(incompressible(v))", {"u": one(WAVE), "v": TAYLOR_GREEN}),
    "shallow_water_flow": (  # in geostrophic balance
        f"rmse(shallow_water_flow(u, v, g = {G}, f = {F}))",
        {
            "u": one(HEIGHT),
            "v": torch.stack([G * 0.1 * Q * (Q * Y).sin() / F, torch.zeros_like(X)]),
        },
    ),
    "shallow_water_mass": (
        "rmse(shallow_water_mass(u, v))",
        {
            "u": one(HEIGHT),
            "v": torch.stack([(Q * Y).sin(), torch.zeros_like(X)]),
        },
    ),
}


@pytest.mark.parametrize("name", PERIODIC)
def test_equations_vanish_for_band_limited_exact_solutions(name):
    loss, functions = PERIODIC[name]
    assert residual(loss, PLANE, **functions) < 1e-6
    wrong = functions | {"u": functions["u"] + 0.1 * one((K * X + Q * Y + K * T).sin())}
    if name == "incompressible":
        wrong = functions | {"v": functions["v"] * torch.tensor([1.0, 2.0])[:, None, None, None]}
    assert residual(loss, PLANE, **wrong) > 1e-3


def test_the_momentum_of_a_taylor_green_vortex_balances():
    axes = "x: 0..1, y: 0..1, t: 0..1, boundary = periodic"
    n = 12
    line = torch.arange(n, dtype=torch.float64) / n
    x, y, _ = torch.meshgrid(line, line, line, indexing="ij")
    v = torch.stack([(K * x).sin() * (K * y).cos(), -(K * x).cos() * (K * y).sin()])
    p = one(((2 * K * x).cos() + (2 * K * y).cos()) / 4)
    loss = f"rmse(momentum(v, u, nu = {NU}, f = f))"
    force = 2 * NU * K * K * v
    assert residual(loss, axes, u=p, v=v, f=force) < 1e-6
    assert residual(loss, axes, u=0.9 * p, v=v, f=force) > 1e-3


def rate(errors):
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize(("order", "options"), [(4, ""), (2, ", order = 2"), (6, ", order = 6")])
def test_differences_on_axes_with_ends_have_their_stated_order(order, options):
    errors = []
    for n in (24, 48):
        x = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        u, f = (2 * x).sin(), 4 * (2 * x).sin()
        loss = f"max_error(laplace(u{options}) + f)"
        errors.append(residual(loss, "x: 0..1", u=one(u), f=one(f)))
    assert order - 0.5 < rate(errors) < order + 1.2


def test_burgers_falls_at_the_order_of_the_differences_in_time():
    # u = -2 nu phi_x / phi with a solution phi of the heat equation (Cole and Hopf)
    errors = []
    for n in (16, 32):
        x = torch.arange(64, dtype=torch.float64)[:, None] / 64
        t = torch.linspace(0, 0.1, n + 1, dtype=torch.float64)[None]
        decay = torch.exp(-NU * K * K * t)
        phi, phi_x = 3 + decay * (K * x).cos(), -K * decay * (K * x).sin()
        u = -2 * NU * phi_x / phi
        axes = "x: 0..1, t: 0..0.1, boundary = (periodic, none)"
        errors.append(residual(f"max_error(burgers(u, {NU}))", axes, u=one(u)))
    assert errors[1] < 2e-3
    assert 3.5 < rate(errors) < 5.2


def test_darcy_of_a_jump_is_exact_and_of_second_order_elsewhere():
    # a = 1 and 5 left and right of 1/2, between two points: a u' is constant
    n = 16
    x = torch.linspace(0, 1, n, dtype=torch.float64)
    a = torch.where(x < 0.5, 1.0, 5.0).double()
    u = torch.where(x < 0.5, x, 0.5 + (x - 0.5) / 5)
    assert residual("max_error(darcy(a, u, f = 0))", "x: 0..1", u=one(u), a=one(a)) < 1e-6
    errors = []
    for n in (32, 64):
        x = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        u, a = (2 * x).sin(), 2 + x
        f = -2 * (2 * x).cos() + 4 * a * (2 * x).sin()
        loss = "max_error(darcy(a, u, f))"
        errors.append(residual(loss, "x: 0..1", u=one(u), a=one(a), f=one(f)))
    assert 1.7 < rate(errors) < 2.5
