"""Random waves of coordinates in the basis of the boundary, against closed forms."""

import math

import pytest
import torch

from opdsl.compiler import check
from opdsl.ir.convergence import behaviours
from opdsl.ir.ends import End, Seam
from opdsl.ir.fingerprint import fingerprint
from opdsl.lower.module import lower
from opdsl.nn.spectral.half_waves.features import BasisFeatures
from tests.programs import only

BOTH = (End.ODD, End.ODD)


def program(basis, axes="x: 0..1", boundary="dirichlet", value="coords(D)", more=""):
    dims = axes.count(":")
    return f"""
edition 2026

model M {{
  domain D = grid({axes}, boundary = {boundary}, min = 8)
  {more}
  input a : D -> R^{dims}
  output u : D -> R^1

  f = {value} |> fourier_features(count = 3, scale = 2.0, basis = {basis})
  u = concat(a, f) |> linear(out = 1)
}}
"""


def node(graph):
    return next(x for x in graph.nodes if x.keyword == "fourier_features")


def ends_of(text):
    """What the checker knows about the features on the only axis."""
    graph = check(text).sound()
    return behaviours(graph)[node(graph).path].axes[0]


def features(basis, size, **options) -> torch.Tensor:
    """The features on a grid, (channels, *size)."""
    graph = check(program(basis, **options)).sound()
    torch.manual_seed(0)
    net = lower(graph).double()
    found = []
    layer = next(x for x in net.modules() if isinstance(x, BasisFeatures))
    layer.register_forward_hook(lambda _m, _x, y: found.append(y))
    dims = len(size)
    net(torch.zeros(1, dims, *size, dtype=torch.float64))
    return found[0][0].movedim(-1, 0)


def test_each_feature_is_a_product_of_functions_of_one_axis():
    terms = (("sine", "fourier"), ("cosine", "fourier"))
    torch.manual_seed(0)
    layer = BasisFeatures(terms, ((-1.0, 3.0), (0.0, 0.5)), 5, 1.0).double()
    x = torch.rand(7, 2, dtype=torch.float64) * torch.tensor([4.0, 0.5]) - torch.tensor([1.0, 0.0])
    s, t = (x[:, 0] + 1) / 4, x[:, 1] / 0.5
    columns = []
    for term, rule in enumerate((torch.sin, torch.cos)):
        k, m = layer.waves[term]
        half = rule(math.pi * s[:, None] * k)
        columns += [
            half * (math.pi * t[:, None] * m).sin(),
            half * (math.pi * t[:, None] * m).cos(),
        ]
    torch.testing.assert_close(layer(x), torch.cat(columns, 1))


@pytest.mark.parametrize(
    ("family", "remainder", "least"),
    [("sine", 0, 1), ("cosine", 0, 0), ("quarter_sine", 0.5, 0.5), ("quarter_cosine", 0.5, 0.5)],
)
def test_frequencies_are_those_of_the_family(family, remainder, least):
    torch.manual_seed(0)
    k = BasisFeatures(((family,),), ((0.0, 2.0),), 4000, 1.5).waves
    assert torch.equal(k % 1, torch.full_like(k, remainder))
    assert k.min() == least
    # half waves over the length 2 at 1.5 periods per unit: 6 times a normal variable
    assert k.square().mean().sqrt().item() == pytest.approx(6, rel=0.05)


def test_waves_of_a_circle_have_whole_periods_of_both_signs():
    torch.manual_seed(0)
    k = BasisFeatures((("fourier",),), ((0.0, 1.0),), 1000, 3.0).waves
    assert torch.equal(k % 2, torch.zeros_like(k))
    assert k.min() < 0 < k.max()


@pytest.mark.parametrize("sampling", ["both", "lower", "upper", "interior", "centres"])
def test_sines_vanish_at_the_ends_and_cosines_are_flat(sampling):
    graph = check(program("auto").replace("min", f"sampling = {sampling}, min")).sound()
    torch.manual_seed(0)
    layer = next(x for x in lower(graph).double().modules() if isinstance(x, BasisFeatures))
    t = torch.tensor([[0.0], [1.0]], dtype=torch.float64, requires_grad=True)
    y = layer(t)
    assert y[:, :3].abs().max() < 1e-13
    slopes = torch.autograd.grad(y[:, 3:].sum(), t)[0]
    assert slopes.abs().max() < 1e-11


def test_features_are_one_function_at_every_resolution():
    coarse, fine = (
        features("auto", (n, m), axes="x: 0..2, y: 1..3", boundary="(periodic, neumann)")
        for n, m in ((8, 9), (16, 17))
    )
    assert coarse.shape == (6, 8, 9)
    torch.testing.assert_close(fine[:, ::2, ::2], coarse)


@pytest.mark.parametrize(
    ("basis", "boundary", "channels"),
    [
        ("auto", "(dirichlet, dirichlet)", 6),
        ("auto", "(neumann, neumann)", 3),
        ("auto", "(periodic, periodic)", 6),
        ("auto", "(periodic, dirichlet)", 12),
        ("(sine, quarter_sine)", "(dirichlet, dirichlet..neumann)", 3),
        ("fourier", "(dirichlet, dirichlet)", 6),
    ],
)
def test_the_channels_are_those_of_the_module(basis, boundary, channels):
    axes = "x: 0..1, y: 0..1"
    graph = check(program(basis, axes=axes, boundary=boundary)).sound()
    assert str(node(graph).space) == f"D -> R^{channels}"
    if basis != "fourier":
        assert features(basis, (9, 8), axes=axes, boundary=boundary).shape == (channels, 9, 8)


@pytest.mark.parametrize(
    ("basis", "boundary", "code", "said"),
    [
        ("sine", "periodic", "OP0323", "`x` is periodic"),
        ("sine", "neumann", "OP0323", "contradicts the Neumann condition at the lower end"),
        ("quarter_cosine", "dirichlet..neumann", "OP0323", "at the upper end"),
        ("(sine, sine)", "dirichlet", "OP0208", "has 2 entries"),
        ("sines", "dirichlet", "OP0208", "basis"),
    ],
)
def test_a_basis_that_does_not_fit_is_refused(basis, boundary, code, said):
    found = only(program(basis, boundary=boundary))
    assert found.code == code
    assert said in found.message + str(found)


@pytest.mark.parametrize(
    ("value", "more", "code", "said"),
    [
        ("concat(a, coords(D))", "", "OP0303", "features of 1 coordinates"),
        ("coords(P)", "domain P = points(1)", "OP0301", "follow the boundary of a grid"),
        (
            "coords(D) |> pad(to = E)",
            "domain E = extend(D, fraction = 1/4)",
            "OP0301",
            "follow the boundary of a grid",
        ),
    ],
)
def test_features_of_something_else_are_refused(value, more, code, said):
    found = only(program("auto", value=value, more=more))
    assert found.code == code
    assert said in found.message


def test_the_checker_knows_the_ends_of_features_of_coordinates():
    known = ends_of(program("sine"))
    assert known.ends == BOTH
    circle = ends_of(program("auto", boundary="periodic"))
    assert circle.seam == Seam.SMOOTH


def test_the_checker_knows_nothing_of_features_of_other_functions():
    """Half the coordinate of the upper end lies inside, where waves need not vanish."""
    for value in (
        "scale(coords(D), factor = 0.5)",
        "coords(D) |> linear(out = 1, bias = false)",
        "a",
    ):
        known = ends_of(program("sine", value=value))
        assert known.ends == (End.NOTHING, End.NOTHING), value


def test_half_precision_loses_no_more_than_the_last_digits():
    torch.manual_seed(0)
    layer = BasisFeatures((("sine",), ("cosine",)), ((0.0, 1.0),), 16, 8.0)
    x = torch.linspace(0, 1, 129)[:, None].bfloat16()
    torch.testing.assert_close(layer(x), layer(x.float()).bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x.float()), layer(x.float()))


def test_an_exported_program_has_the_features_of_every_resolution():
    torch.manual_seed(0)
    layer = BasisFeatures((("sine", "fourier"),), ((0.0, 1.0), (0.0, 2.0)), 3, 1.0)
    sizes = {1: torch.export.Dim("n", min=4, max=64)}
    x = torch.rand(1, 9, 2)
    program = torch.export.export(layer, (x,), dynamic_shapes=(sizes,))
    finer = torch.rand(1, 33, 2)
    torch.testing.assert_close(program.module()(finer), layer(finer))


def test_default_programs_keep_their_module_and_channels():
    graph = check(program("fourier")).sound()
    old = check(program("fourier").replace(", basis = fourier", "")).sound()
    kinds = [type(x).__name__ for x in lower(graph).modules()]
    assert "FourierFeatures" in kinds
    assert "BasisFeatures" not in kinds
    assert fingerprint(graph) == fingerprint(old)
