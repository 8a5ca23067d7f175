"""Predicted and measured orders of convergence: single blocks, and the specs.

`tests/orders.py` says how they are measured. An order is at least the prediction - 0.3, and at most
the prediction + 0.5 if it is algebraic.
"""

import itertools
import math
from pathlib import Path

import pytest

from tests.orders import Ladder, Measured, measure, specs

SPECS = Path(__file__).parents[2] / "specs"
LINE = """
edition 2026

model M {{
  domain D = grid(x: 0..1, {options}, min = 16)
  {extension}
  input f : D -> R^2{ends}
  output u : D -> R^2

  u = {chain}
}}
"""
PLANE = LINE.replace("x: 0..1", "x: 0..1, y: 0..1")
EXTENSIONS = {
    "E": "domain E = extend(D, fraction = 1/4)",
    "G": "domain E = extend(D, fraction = 1/4, kind = gram)",
}


def line(chain, options="boundary = none", ends="", extension="", program=LINE) -> str:
    """A program on one axis."""
    declared = f", ends = {ends}" if ends else ""
    return program.format(
        chain=chain, options=options, ends=declared, extension=EXTENSIONS.get(extension, "")
    )


def judged(found: Measured | None, predicted: float) -> None:
    """Compare the prediction with what is expected of it, and the measurement with both."""
    assert found is not None
    assert found.predicted == predicted
    assert found.agrees, f"measured {found.order:.2f}: {found.errors}"


def sizes_of(sampling: str) -> tuple[int, ...]:
    """Spacings of the grids: each a multiple of the one before that has its points."""
    if sampling == "centres":
        return (32, 96, 288)
    # a value extrapolated to an end makes an error of its own, of the opposite sign at 32 points
    return (32, 64, 128, 256) if sampling == "both" else (64, 128, 256, 512)


# --- coefficients: the basis, the ends, the sampling ----------------------------------------------

# the order of the coefficients, for points at both ends
TABLE = {
    ("sine", "none"): 2,
    ("sine", "dirichlet"): 4,
    ("sine", "odd"): math.inf,
    ("sine", "even"): 2,
    ("cosine", "none"): 2,
    ("cosine", "neumann"): 4,
    ("cosine", "even"): math.inf,
    ("cosine", "odd"): 2,
    ("quarter_sine", "dirichlet..neumann"): 4,
    ("quarter_sine", "odd..even"): math.inf,
    ("quarter_sine", "odd..none"): 2,
    ("quarter_cosine", "even..odd"): math.inf,
    ("quarter_cosine", "even..dirichlet"): 4,
    ("sine_cosine", "odd"): 2,
    ("fourier", "odd"): 1,
}


@pytest.mark.parametrize(("basis", "ends"), TABLE)
def test_the_order_of_coefficients_follows_from_both_ends(basis, ends):
    chain = f"f |> spectral_conv(modes = 4, basis = {basis}, bias = false)"
    found = measure(line(chain, ends=ends), Ladder(sizes_of("both")))
    judged(found, TABLE[basis, ends])


@pytest.mark.parametrize(
    ("sampling", "basis", "ends", "order"),
    [
        ("centres", "sine", "none", 2),
        ("centres", "sine", "odd", math.inf),
        ("centres", "cosine", "neumann", 4),
        ("centres", "fourier", "none", 2),
        ("interior", "sine", "dirichlet", 4),
        ("interior", "sine_cosine", "even", 2),
        ("interior", "fourier", "odd", 1),
        ("lower", "quarter_cosine", "even..odd", math.inf),
        ("lower", "fourier", "dirichlet", 2),
        ("lower", "fourier", "none", 1),
        ("upper", "quarter_sine", "odd..even", math.inf),
        ("upper", "sine_cosine", "none", 2),
    ],
)
def test_the_order_of_coefficients_follows_the_sampling(sampling, basis, ends, order):
    chain = f"f |> spectral_conv(modes = 4, basis = {basis}, bias = false)"
    program = line(chain, f"boundary = none, sampling = {sampling}", ends)
    judged(measure(program, Ladder(sizes_of(sampling))), order)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["both", "centres", "interior", "lower", "upper"])
@pytest.mark.parametrize("ends", ["none", "dirichlet", "neumann", "odd", "even", "odd..even"])
def test_all_bases_agree_with_their_prediction(sampling, ends):
    families = ("fourier", "sine", "cosine", "quarter_sine", "quarter_cosine", "sine_cosine")
    carried = {
        "interior": ("fourier", "sine", "sine_cosine"),
        "lower": ("fourier", "sine", "quarter_cosine", "sine_cosine"),
        "upper": ("fourier", "sine", "quarter_sine", "sine_cosine"),
    }
    for basis in carried.get(sampling, families):
        chain = f"f |> spectral_conv(modes = 4, basis = {basis}, bias = false)"
        program = line(chain, f"boundary = none, sampling = {sampling}", ends)
        found = measure(program, Ladder(sizes_of(sampling)))
        assert found is not None
        assert found.agrees, f"{basis}: {found.predicted} {found.order:.2f} {found.errors}"


# --- other blocks ---------------------------------------------------------------------------------

OPEN, RING = "boundary = none", "boundary = periodic"
CENTRES = "boundary = none, sampling = centres"
SINE = "spectral_conv(modes = 4, bias = false, basis = sine)"
COSINE = "spectral_conv(modes = 4, basis = cosine)"
WAVES = "spectral_conv(modes = 4, out = 2)"

BLOCKS = {
    "gelu keeps a zero": (line(f"f |> {SINE} |> gelu() |> {SINE}", ends="odd"), 4),
    "tanh keeps the parity": (line(f"f |> {SINE} |> tanh() |> {SINE}", ends="odd"), math.inf),
    "a constant breaks it": (line(f"f |> {SINE} |> mlp(widths = [4, 2]) |> {SINE}", ends="odd"), 2),
    "gelu of an even function": (
        line(f"f |> {COSINE} |> gelu() |> {COSINE}", ends="even"),
        math.inf,
    ),
    "the square of an odd function": (line(f"(f * f) |> {COSINE}", ends="odd"), math.inf),
    "the square of a zero": (line(f"(f * f) |> {COSINE}", ends="dirichlet"), 4),
    "meet by a factor": (line(f"f |> meet(dirichlet) |> {SINE}"), 4),
    "meet of an even function": (line(f"f |> meet(dirichlet) |> {SINE}", ends="even"), math.inf),
    "meet by lifting": (line(f"f |> meet(dirichlet, by = lifting) |> {SINE}"), 4),
    "meet slopes": (line("f |> meet(neumann)"), 2),
    "meet by a basis": (line("f |> meet(dirichlet..neumann, by = basis, modes = 5)"), 2),
    "norm over a grid": (line("f |> norm()"), 1),
    "norm at cell centres": (line("f |> norm()", CENTRES), 2),
    "norm on a circle": (line("f |> norm()", RING), math.inf),
    "attention": (line("f |> attention()"), 1),
    "slices": (line("f |> slice_attention(slices = 3)"), 1),
    "codomain attention": (line("codomain_attention(f, f, f, variables = 2, heads = 1)"), 2),
    "relu on a circle": (line(f"f |> norm() |> relu() |> {WAVES}", RING), 2),
    "elu on a circle": (line(f"f |> norm() |> elu() |> {WAVES}", RING), 3),
    "coordinates on a circle": (line(f"concat(f, coords(D)) |> {WAVES}", RING), 1),
    "places on a circle": (line(f"concat(f, coords(D, kind = circle)) |> {WAVES}", RING), math.inf),
    "zeros beyond": (line(f"f |> pad(to = E) |> {WAVES} |> crop(to = D)", extension="E"), 1),
    "zeros beyond a zero": (
        line(f"f |> pad(to = E) |> {WAVES} |> crop(to = D)", extension="E", ends="dirichlet"),
        2,
    ),
    "continued by gram": (line(f"f |> pad(to = E) |> {WAVES} |> crop(to = D)", extension="G"), 2),
    "differences on a circle": (line("f |> difference_conv(width = 0.1)", RING), 1),
    "differences": (line("f |> difference_conv(width = 0.1)"), 1),
    "an integral": (line("f |> integrate() |> broadcast(to = D)"), 2),
    "an integral, flat": (line("f |> integrate() |> broadcast(to = D)", ends="neumann"), 4),
    "an integral, even": (line("f |> integrate() |> broadcast(to = D)", ends="even"), math.inf),
    "an integral from the lower points": (
        line(
            "f |> integrate() |> broadcast(to = D)",
            "boundary = none, sampling = lower",
            "even",
        ),
        3,
    ),
    "modes": (line("f |> fft(modes = 3) |> spectral_linear() |> ifft(to = D)", RING), math.inf),
    "features of an even function": (
        line("f |> fourier_features(count = 1) |> " + COSINE, ends="even"),
        math.inf,
    ),
    "features of a circle": (
        line(f"concat(f, coords(D) |> fourier_features(count = 2, basis = auto)) |> {WAVES}", RING),
        math.inf,
    ),
    "features that vanish": (
        line(
            "concat(f, coords(D) |> fourier_features(count = 2, basis = sine))"
            f" |> linear(out = 2, bias = false) |> {SINE}",
            ends="odd",
        ),
        math.inf,
    ),
    "discs in the plane": (line("f |> disco_conv(radius = 0.23)", RING, program=PLANE), 2),
    "axis by axis": (line("f |> axis_conv(modes = 3)", program=PLANE), 1),
    "another basis on each axis": (
        line(
            "f |> spectral_conv(modes = 3, basis = (fourier, sine), bias = false)",
            "boundary = (periodic, dirichlet)",
            "odd",
            program=PLANE,
        ),
        math.inf,
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_the_order_of_a_block_is_measured(name):
    program, order = BLOCKS[name]
    judged(measure(program), order)


def test_differences_of_differences_across_an_end_have_no_limit():
    chain = "f |> difference_conv(width = 0.1) |> tanh() |> difference_conv(width = 0.1)"
    found = measure(line(chain))
    assert found is not None
    assert found.convergence.diverging is not None
    assert found.order < 0.1


# --- specs ----------------------------------------------------------------------------------------

QUICK = ("darcy_small", "fno_burgers", "fno_darcy_small", "poisson", "rno_burgers")


@pytest.mark.parametrize("name", QUICK)
def test_the_order_of_a_spec_is_that_of_its_certificate(name):
    found = measure(SPECS / f"{name}.op", Ladder(seeds=1))
    assert found is not None
    assert found.predicted is not None
    assert found.agrees, f"{found.predicted} {found.order:.2f} {found.errors}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [x for x in specs(SPECS) if x.stem not in QUICK], ids=lambda x: x.stem
)
def test_the_orders_of_all_specs_are_those_of_their_certificates(path):
    found = measure(path)
    if found is None:
        pytest.skip("its functions are not on grids")
    assert found.agrees, f"{found.predicted} {found.order:.2f} {found.errors}"


def test_a_wrong_prediction_is_found():
    found = measure(line(f"f |> {SINE}"))
    assert found is not None
    errors = list(found.errors.values())
    assert all(3.5 < a / b < 4.5 for a, b in itertools.pairwise(errors))
    steeper = Measured(found.convergence, {n: e**2 for n, e in found.errors.items()}, 2)
    flatter = Measured(found.convergence, {n: e**0.5 for n, e in found.errors.items()}, 2)
    assert found.agrees
    assert not steeper.agrees
    assert not flatter.agrees
