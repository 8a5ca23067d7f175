"""Decompositions of tensors, against singular values, known factors, and the layers themselves."""

import pytest
import torch

import opdsl
from opdsl.lower.module import lower
from opdsl.nn.spectral.factors import FACTORS
from opdsl.workflow.compression.decomposition import decompose_into
from opdsl.workflow.compression.layers import dense_weights, factored_weights, layer_of
from opdsl.workflow.compression.program import compressed_program, fill, plan

RANKS = {"tucker": (3, 2, 3, 2), "cp": (3,), "tt": (3, 4, 2)}
SHAPE = (6, 5, 7, 4)


def fresh(factor, shape, ranks, *, real=False):
    made = FACTORS[factor](shape, ranks, real=real)
    made.reset_parameters(1.0)
    return made


@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
@pytest.mark.parametrize("factor", FACTORS)
def test_a_tensor_of_these_ranks_is_recovered(factor, real):
    R = fresh(factor, SHAPE, RANKS[factor], real=real).double().full(torch.float64).detach()
    target = fresh(factor, SHAPE, RANKS[factor], real=real).double()
    assert decompose_into(target, R) < 1e-6
    assert torch.allclose(target.full(torch.float64), R, atol=1e-5)


@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
@pytest.mark.parametrize(("factor", "ranks"), [("tucker", (3, 3)), ("cp", (3,)), ("tt", (3,))])
def test_a_matrix_has_the_error_of_its_singular_values(factor, ranks, real):
    dtype = torch.float64 if real else torch.complex128
    R = torch.randn(8, 6, dtype=dtype)
    sizes = torch.linalg.svdvals(R)
    expected = float(sizes[3:].norm() / sizes.norm())  # Eckart, Young
    error = decompose_into(fresh(factor, (8, 6), ranks, real=real).double(), R)
    assert error == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("factor", ["tucker", "tt"])
def test_the_error_is_within_the_bounds_of_the_unfoldings(factor):
    R = torch.randn(SHAPE, dtype=torch.complex128)
    if factor == "tucker":
        unfolded = [R.movedim(i, 0).flatten(1) for i in range(4)]
    else:
        unfolded = [R.flatten(0, i).reshape(-1, R[(0,) * (i + 1)].numel()) for i in range(3)]
    tails = [
        torch.linalg.svdvals(x)[r:].norm() for x, r in zip(unfolded, RANKS[factor], strict=True)
    ]
    error = decompose_into(fresh(factor, SHAPE, RANKS[factor]).double(), R) * R.norm()
    assert max(tails) <= error <= torch.stack(tails).norm()  # De Lathauwer 2000, Oseledets 2011


def test_factors_of_cp_have_columns_of_equal_size():
    target = fresh("cp", SHAPE, (3,)).double()
    decompose_into(target, torch.randn(SHAPE, dtype=torch.complex128))
    sizes = torch.stack([torch.view_as_complex(x).norm(dim=0) for x in target.factors])
    assert torch.allclose(sizes, sizes[:1].expand_as(sizes), rtol=1e-6)


def test_a_train_whose_ranks_are_not_needed_is_padded_with_zeros():
    R = torch.zeros(4, 4, 4, dtype=torch.complex128)
    R[0, 0] = torch.arange(4) + 1j
    target = fresh("tt", (4, 4, 4), (4, 4)).double()
    assert decompose_into(target, R) < 1e-12


def test_zero_stays_zero():
    target = fresh("tucker", SHAPE, RANKS["tucker"])
    assert decompose_into(target, torch.zeros(SHAPE, dtype=torch.complex64)) == 0
    assert not target.full(torch.float32).any()


GRID = "grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)"
WALLS = "grid(x: 0..1, y: 0..1, boundary = dirichlet, min = 17)"
MIXED = "grid(x: 0..1 periodic, y: 0..1 dirichlet, min = 17)"
SPHERE = "sphere(min = 17)"
LAYERS = {
    "exponentials": (GRID, 6, "spectral_conv(modes = (3, 4){})", (17, 18)),
    "half-waves": (WALLS, 6, "spectral_conv(modes = (4, 5), basis = auto{})", (17, 18)),
    "one term": (WALLS, 6, "spectral_conv(modes = (4, 5), basis = cosine{})", (17, 18)),
    "copies": (GRID, 12, "spectral_conv(modes = (3, 4), copies = 2{})", (17, 18)),
    "separable": (GRID, 6, "spectral_conv(modes = (3, 4), separable = true{})", (17, 18)),
    "complex": (GRID, 6, "spectral_conv(modes = (3, 4){})", (17, 18)),
}


def program(name, more):
    domain, channels, call, _ = LAYERS[name]
    field = "C" if name == "complex" else "R"
    return f"""edition 2026

model M {{
  domain D = {domain}
  input a : D -> {field}^{channels}
  output u : D -> {field}^{channels}

  u = a |> {call.format(more)}
}}
"""


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_low_rank_computes_what_it_did(name, factor):
    """Dense weights that are products of factors; their decomposition is exact."""
    more = f", factor = {factor}, rank = 2"
    factored, dense = (lower(opdsl.load(program(name, x))) for x in (more, ""))
    source, target = (layer_of(x.steps[0].module) for x in (factored, dense))
    with torch.no_grad():
        terms = dense_weights(target)
        for R, x in zip(terms, factored_weights(source), strict=True):
            R.copy_(x.full(torch.float32))  # a view of the weight
        target.bias.copy_(source.bias)
    steps = plan(dense.graph, dense, factor, 2, ())
    small = lower(compressed_program(dense.graph, steps).graph)
    (layer,) = fill(small, dense, steps)
    assert layer.error < 1e-5
    dtype = torch.complex64 if name == "complex" else torch.float32
    a = torch.randn(2, LAYERS[name][1], *LAYERS[name][3], dtype=dtype)
    with torch.no_grad():
        expected = factored(a)
        assert torch.allclose(dense(a), expected, atol=1e-5)
        assert (small(a) - expected).norm() < 1e-4 * expected.norm()


TIED = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model M {
  domain D = grid(x: 0..1, boundary = periodic, min = 17)
  input a : D -> R^1
  output u : D -> R^1
  output w : D -> R^1

  u = a |> Lift(out = 8) |> repeat 3 shared { FourierLayer(modes = 6) } |> Project(out = 1)
  w = u |> linear(out = 4) |> spectral_conv(modes = 6) |> norm() |> linear(out = 1)
}
"""


def test_all_other_weights_keep_their_values_and_names_are_of_the_flat_program():
    dense = lower(opdsl.load(TIED))
    steps = plan(dense.graph, dense, "tucker", 0.5, ("w*",))
    assert list(steps.layers) == [x.path for x in dense.graph.nodes if x.path.startswith("w.sp")]
    small = lower(compressed_program(dense.graph, steps).graph)
    fill(small, dense, steps)
    a = torch.randn(2, 1, 20)
    with torch.no_grad():
        assert torch.allclose(small(a)["u"], dense(a)["u"], atol=1e-6)
        assert not torch.allclose(small(a)["w"], dense(a)["w"], atol=1e-4)


def test_a_shared_weight_is_decomposed_once():
    dense = lower(opdsl.load(TIED))
    steps = plan(dense.graph, dense, "tt", 0.5, ())
    assert len(steps.layers) == 2
    small = lower(compressed_program(dense.graph, steps).graph)
    layers = fill(small, dense, steps)
    assert len(layers) == 2
    assert sum(x.numel() for x in small.parameters()) < sum(x.numel() for x in dense.parameters())


def test_whole_ranks_are_capped_at_the_full_rank():
    dense = lower(opdsl.load(program("exponentials", "")))
    steps = plan(dense.graph, dense, "tucker", (5, 5, 99, 3), ())
    (layer,) = steps.layers.values()
    assert layer.shape == (6, 6, 7, 5)
    assert layer.ranks == (5, 5, 7, 3)


@pytest.mark.parametrize("rank", [0, -1, 0.0, 1.5, (2, 2), (0, 1, 1, 1)])
def test_a_rank_that_does_not_fit_is_refused(rank):
    dense = lower(opdsl.load(program("exponentials", "")))
    with pytest.raises(opdsl.OpError) as caught:
        plan(dense.graph, dense, "tucker", rank, ())
    assert [x.code for x in caught.value.diagnostics] == ["OP0763"]


def test_factors_that_save_nothing_are_not_made():
    dense = lower(opdsl.load(program("exponentials", "")))
    with pytest.raises(opdsl.OpError, match="no dense spectral weight") as caught:
        plan(dense.graph, dense, "tucker", 1.0, ())
    assert "the factors would have" in str(caught.value)
