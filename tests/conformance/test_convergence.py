"""Every spec tends to a limit under refinement, as fast as its kind allows; a stencil does not.

The figures for the whole table, the reference beside them, are made by `benchmarks/convergence.py`.
"""

import itertools
import math

import pytest
import torch

import opdsl
from opdsl import resources
from opdsl.nn import SpectralConv
from opdsl.nn.spectral.resample import resample
from tests.convergence import (
    CASES,
    COORDINATES,
    PADDED,
    PLANES,
    SPECTRAL,
    STENCILS,
    WIDE_STENCILS,
    Case,
    Gate,
)

SPECS = {x.stem: x for x in sorted(resources.root("specs").glob("*.op"))}


ON_POINTS = {"fno_gno", "gino_car", "otno_car"}  # see `test_convergence_points`
# of random shapes in the plane, see tests/e2e/test_specs_shapes.py
ON_SHAPES = {
    "gno_mollified",
    "gno_poisson",
    "multipole_gno_poisson",
    "operator_transformer",
    "transolver",
}
PINNED = {"deeponet"}  # its sensors are what they are


def test_every_spec_is_in_the_table_and_nothing_else():
    assert set(CASES) | ON_POINTS | ON_SHAPES | PINNED == set(SPECS)


# of each kind of domain and coordinates the fastest; the others are slow
QUICK = {
    *("afno", "darcy", "fno_burgers", "fno_continued", "fno_darcy", "fno_darcy_small"),
    *("local_no", "rno_burgers", "sfno_swe", "tfno_darcy"),
}


def refined(name: str):
    return pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)


@pytest.mark.parametrize("name", [refined(x) for x in sorted(CASES)])
def test_a_spec_converges_under_refinement(name):
    case = CASES[name]
    errors = case.measure(str(SPECS[name]))
    assert case.gate.opens(errors), (errors, errors.orders())


@pytest.mark.parametrize("factor", ["tucker", "cp", "tt"])
def test_factorised_weights_are_one_operator_too(factor):
    case = Case(COORDINATES, (32, 64), 256, {"width": 16, "factor": factor})
    errors = case.measure(str(SPECS["tfno_darcy"]))
    assert case.gate.opens(errors), (errors, errors.orders())


def judged(program: str, gate: Gate, **more: object) -> bool:
    return gate.opens(Case(gate, (32, 64), 256, **more).measure(program))


def test_a_spectral_operator_without_coordinates_has_the_order_of_its_input():
    assert judged(PLANES["no coordinates"], SPECTRAL)


def test_coordinates_with_a_jump_cap_the_order_at_one():
    program = PLANES["coordinates"]
    assert judged(program, COORDINATES)
    assert not judged(program, SPECTRAL)


def test_coordinates_without_a_jump_do_not_cap_the_order():
    assert judged(PLANES["coordinates on a circle"], SPECTRAL)


def test_a_trained_function_of_the_place_does_not_cap_the_order():
    assert judged(PLANES["a trained series"], SPECTRAL)


@pytest.mark.parametrize("gate", [SPECTRAL, COORDINATES, PADDED])
def test_a_network_of_stencils_is_rejected_by_every_gate(gate):
    assert not judged(STENCILS, gate)


@pytest.mark.parametrize("gate", [SPECTRAL, COORDINATES])
def test_a_stencil_between_wide_layers_cannot_hide_behind_its_constants(gate):
    assert not judged(WIDE_STENCILS, gate)


# ------------------------------------------------------------- changes of resolution are exact

SIZES = (20, 21, 10, 11, 40, 41, 42, 80, 5, 6)  # x2, /2, x4, /4 of odd and even sizes
PAIRS = tuple(itertools.product(SIZES, SIZES))
EXACT = 1e-6


def wave(*size: int) -> torch.Tensor:
    """(1, *size, 1): frequencies up to 2, known at every point."""
    x, y = (torch.arange(n, dtype=torch.float64) * (2 * math.pi / n) for n in size)
    u = 0.3 + torch.cos(x[:, None] - 2 * y + 0.4) + 0.5 * torch.sin(2 * x[:, None] + y)
    return u[None, ..., None]


def identity(modes: int) -> SpectralConv:
    """R_k = 1 for every k."""
    made = SpectralConv(1, 1, (modes, modes), bias=False).double()
    with torch.no_grad():
        made.weight.copy_(torch.tensor([1.0, 0.0], dtype=torch.float64).expand_as(made.weight))
    return made


@pytest.mark.parametrize("kernel", ["fft", "dft"])
@pytest.mark.parametrize(("n", "m"), PAIRS)
def test_an_identity_is_exact_between_any_two_sizes(n, m, kernel):
    with torch.no_grad():
        u = identity(2)(wave(n, n + 1), (m, m + 1), kernel)
    assert (u - wave(m, m + 1)).norm() <= EXACT * u.norm()


@pytest.mark.parametrize(("n", "m"), PAIRS)
def test_resampling_is_exact_between_any_two_sizes(n, m):
    u = resample(wave(n, n + 1), (m, m + 1))
    assert (u - wave(m, m + 1)).norm() <= EXACT * u.norm()


LEVELS = """
edition 2026

model Levels {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 20)
  input a : D -> R^1
  output u : D -> R^1

  down = spectral_conv(a, modes = 2, to = D / 2, bias = false)
  bottom = spectral_conv(down, modes = 2, to = D / 4, bias = false)
  up = spectral_conv(bottom, modes = 2, to = D / 2, bias = false)
  both = up + down
  u = 0.5 * spectral_conv(both, modes = 2, to = D, bias = false)
}
"""


@pytest.mark.parametrize("n", [20, 21, 22, 23, 24, 37, 64])
def test_identities_down_and_up_a_u_are_an_identity(n):
    """Skips meet the function that went around, on the same points."""
    module = opdsl.compile(LEVELS).double()
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.tensor([1.0, 0.0], dtype=torch.float64).expand_as(weight))
        a = wave(n, n + 1).movedim(-1, 1)
        assert (module(a) - a).norm() <= EXACT * a.norm()


@pytest.mark.parametrize("kind", ["legendre", "gram"])
def test_fourier_continuation_is_better_than_zeros(kind):
    """The same model on the same functions, which differ at both ends of their interval."""
    source = SPECS["fno_continued"].read_text(encoding="utf-8")
    case = CASES["fno_continued"]
    errors = {
        k: case.measure(source.replace("kind = legendre", f"kind = {k}")).at[64]
        for k in ("zero", kind)
    }
    assert errors["zero"] <= PADDED.error
    assert errors[kind] < errors["zero"] / 50
