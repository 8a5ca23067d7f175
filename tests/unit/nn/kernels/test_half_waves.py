"""Fused layers in bases of half-waves, against dense matrices and the formula in float64."""

from dataclasses import replace

import pytest
import torch

from opdsl.nn.kernels import fourier_layer as fused
from opdsl.nn.kernels.fourier_layer import Activations, LayerWeights, fourier_layer, plain_layer
from opdsl.nn.kernels.half_waves import HalfWaveModes

pytestmark = pytest.mark.skipif(not fused.kernels_available(), reason="no C++ compiler here")

TOLERANCE = 1e-6  # relative, of float32 against float64
BOTH = ("sine", "cosine")

LAYERS = {  # grid, functions, families of the axes for each term, samplings, in, out, hidden, gate
    "one axis": ((33,), (9,), (BOTH,), ("both",), 16, 16, 8, "soft"),
    "one axis, even points": ((40,), (10,), (BOTH,), ("both",), 16, 16, 8, "soft"),
    "one axis, several tiles": ((301,), (13,), (BOTH,), ("both",), 64, 32, 16, None),
    "one axis, tiles that leave the middle alone": (
        (129,),
        (12,),
        (BOTH,),
        ("both",),
        64,
        64,
        32,
        None,
    ),
    "one term": ((33,), (17,), (("cosine",),), ("centres",), 20, 36, 10, "linear"),
    "few functions": ((11,), (3,), (BOTH,), ("interior",), 5, 7, 0, None),
    "every function": ((18,), (16,), (BOTH,), ("both",), 6, 6, 3, "soft"),
    "quarter-waves": ((20,), (8,), (("quarter_sine", "cosine"),), ("centres",), 12, 12, 6, "soft"),
    "unsymmetric sampling": (
        (20,),
        (9,),
        (("sine", "quarter_cosine"),),
        ("lower",),
        12,
        12,
        6,
        None,
    ),
    "two axes": ((24, 21), (9, 8), (BOTH, BOTH), ("both", "both"), 20, 20, 10, "soft"),
    "odd counts": ((17, 33), (7, 13), (BOTH, BOTH), ("both", "centres"), 20, 36, 10, "linear"),
    "one axis with both": (
        (17, 20),
        (7, 9),
        (BOTH, ("cosine", "cosine")),
        ("both", "centres"),
        12,
        12,
        6,
        "soft",
    ),
    "one term on two axes": (
        (16, 19),
        (5, 17),
        (("sine",), ("quarter_sine",)),
        ("both", "upper"),
        33,
        33,
        0,
        None,
    ),
    "two axes, unsymmetric": (
        (16, 19),
        (5, 6),
        (("quarter_sine", "cosine"), BOTH),
        ("centres", "both"),
        9,
        9,
        4,
        "soft",
    ),
    "three axes": (
        (9, 10, 12),
        (4, 5, 8),
        (BOTH, BOTH, BOTH),
        ("both", "centres", "both"),
        12,
        12,
        6,
        "soft",
    ),
    "four axes": ((5, 6, 7, 8), (2, 3, 4, 5), (BOTH,) * 4, ("both",) * 4, 6, 6, 3, None),
}


def numbers(*shape, fan: int = 1) -> torch.Tensor:
    return (torch.randn(*shape) * fan**-0.5).requires_grad_()


def layer(name: str):
    grid, counts, families, samplings, c, o, h, gate = LAYERS[name]
    torch.manual_seed(0)
    stage = HalfWaveModes(tuple(zip(*families, strict=True)), counts, samplings)
    modes = len(stage.terms) * torch.Size(counts).numel()
    w = LayerWeights(numbers(modes, c, o, fan=c), numbers(o, c, fan=c), numbers(o))
    if h:
        more = (numbers(h, o, fan=o), numbers(h), numbers(o, h, fan=h), numbers(o))
        w = LayerWeights(w.R, w.W, w.b, *more, gate=numbers(o) if gate == "soft" else None)
        w = replace(w, G=numbers(o, c, fan=c)) if gate == "linear" else w
    return numbers(3, *grid, c), w, stage, Activations("gelu")


def doubled(x):
    return None if x is None else x.detach().double().requires_grad_()


def gradients(y: torch.Tensor, inputs, g: torch.Tensor, **named):
    return torch.autograd.grad(y, [x for x in inputs if x is not None], g.to(y), **named)


def off(x: torch.Tensor, y: torch.Tensor) -> float:
    return ((x.double() - y.double()).norm() / y.double().norm()).item()


@pytest.mark.parametrize("name", LAYERS)
def test_a_fused_layer_is_its_formula_in_float64_forward_and_backward(name):
    u, w, stage, activations = layer(name)
    y = fourier_layer(u, w, stage, activations)
    v, m = doubled(u), LayerWeights(*map(doubled, w.all()))
    z = plain_layer(v, m, stage, activations)
    assert off(y, z) <= TOLERANCE
    g = torch.randn_like(y)
    pairs = zip(gradients(y, (u, *w.all()), g), gradients(z, (v, *m.all()), g), strict=True)
    assert max(off(a, b) for a, b in pairs) <= TOLERANCE


def test_the_derivative_of_a_derivative_is_that_of_the_formula():
    u, w, stage, activations = layer("odd counts")

    def penalty(layer_of, x, weights):
        y = layer_of(x, weights, stage, activations)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), (x, weights.W, weights.R))

    v, m = doubled(u), LayerWeights(*map(doubled, w.all()))
    pairs = zip(penalty(fourier_layer, u, w), penalty(plain_layer, v, m), strict=True)
    assert max(off(a, b) for a, b in pairs) <= 5 * TOLERANCE


@pytest.mark.parametrize("name", ["odd counts", "three axes", "one axis, several tiles"])
def test_two_threads_compute_what_one_does(name):
    u, w, stage, activations = layer(name)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            y = fourier_layer(u, w, stage, activations)
            results.append((y, *gradients(y, (u, *w.all()), torch.ones_like(y))))
    finally:
        torch.set_num_threads(before)
    one, two, again = results
    assert max(off(a, b) for a, b in zip(one, two, strict=True)) <= TOLERANCE
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))


def test_only_modes_and_the_input_are_kept():
    u, w, stage, activations = layer("two axes")
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        fourier_layer(u, w, stage, activations)
    weights = sum(x.numel() for x in w.all() if x is not None)
    modes = 2 * 2 * 9 * 8 * 3 * 20  # of two terms, before R and behind it
    assert sum(x.numel() for x in kept) - weights == u.numel() + modes


def test_too_few_points_for_the_functions_are_refused():
    _, w, stage, activations = layer("every function")
    with pytest.raises(ValueError, match="at most 15"):
        fourier_layer(torch.randn(2, 17, 6), w, stage, activations)
