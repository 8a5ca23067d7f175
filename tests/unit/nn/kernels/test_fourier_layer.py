import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from opdsl.nn.kernels import fourier_layer as fused
from opdsl.nn.kernels.fourier_layer import Activations, LayerWeights, fourier_layer, plain_layer
from opdsl.nn.kernels.modes import GridModes
from opdsl.nn.kernels.network import network, plain_network
from opdsl.spectrum import frequencies

pytestmark = pytest.mark.skipif(not fused.kernels_available(), reason="no C++ compiler here")

TOLERANCE = 1e-6  # relative, of float32 against float64

LAYERS = {  # grid, modes, in, out, hidden, batch, activations, gate
    "one axis": ((16,), (4,), 16, 16, 8, 3, Activations(), "soft"),
    "odd channels": ((33,), (4,), 5, 7, 0, 3, Activations("relu"), None),
    "two axes": ((24, 20), (4, 3), 20, 20, 10, 3, Activations("gelu"), "soft"),
    "three axes": (
        (12, 10, 16),
        (2, 2, 3),
        32,
        32,
        16,
        2,
        Activations("gelu", "identity", "relu"),
        "soft",
    ),
    "several tiles": ((300,), (6,), 64, 32, 16, 3, Activations("gelu"), None),
    "a matrix as gate": ((24, 14), (3, 3), 20, 36, 10, 3, Activations("gelu"), "linear"),
    "more than four vectors": ((20,), (3,), 70, 70, 35, 2, Activations(), "soft"),
    "odd rows": ((15, 12), (3, 2), 20, 20, 10, 2, Activations("gelu"), "soft"),
    "one row more than modes": ((9, 9), (4, 4), 70, 20, 0, 2, Activations("gelu"), None),
    "Nyquist": ((8, 8), (4, 4), 6, 6, 3, 2, Activations(), "soft"),
}
NETWORKS = {  # in, hidden, out, activation before
    "lifting": (3, 128, 64, "identity"),
    "projection": (64, 128, 1, "gelu"),
    "odd": (7, 9, 5, "relu"),
    # every number of values in the last vector, of four or eight
    **{f"width {n}": (n, n, n, "gelu") for n in range(5, 17)},
}


def numbers(*shape, fan: int = 1) -> torch.Tensor:
    return (torch.randn(*shape) * fan**-0.5).requires_grad_()


def layer(name: str):
    grid, modes, c, o, h, batch, activations, gate = LAYERS[name]
    torch.manual_seed(0)
    between = GridModes(frequencies(modes, "neuralop"))
    count = torch.Size(map(len, between.bands)).numel()
    w = LayerWeights(numbers(count, c, 2 * o, fan=c), numbers(o, c, fan=c), numbers(o))
    if h:
        more = (numbers(h, o, fan=o), numbers(h), numbers(o, h, fan=h), numbers(o))
        w = LayerWeights(w.R, w.W, w.b, *more, gate=numbers(o) if gate == "soft" else None)
        w = replace(w, G=numbers(o, c, fan=c)) if gate == "linear" else w
    return numbers(batch, *grid, c), w, between, activations


def doubled(x):
    return None if x is None else x.detach().double().requires_grad_()


def gradients(y: torch.Tensor, inputs, g: torch.Tensor, **named):
    return torch.autograd.grad(y, [x for x in inputs if x is not None], g.to(y), **named)


def off(x: torch.Tensor, y: torch.Tensor) -> float:
    return ((x.double() - y.double()).norm() / y.double().norm()).item()


@pytest.mark.parametrize("name", LAYERS)
def test_a_fused_layer_is_its_formula_in_float64_forward_and_backward(name):
    u, w, between, activations = layer(name)
    y = fourier_layer(u, w, between, activations)
    v, m = doubled(u), LayerWeights(*map(doubled, w.all()))
    z = plain_layer(v, m, between, activations)
    assert off(y, z) <= TOLERANCE
    g = torch.randn_like(y)
    pairs = zip(gradients(y, (u, *w.all()), g), gradients(z, (v, *m.all()), g), strict=True)
    assert max(off(a, b) for a, b in pairs) <= TOLERANCE


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fused_network_is_its_formula_in_float64_forward_and_backward(name):
    c, h, o, before = NETWORKS[name]
    torch.manual_seed(0)
    u, activations = numbers(5, 130, c), Activations(before)
    w = (numbers(h, c, fan=c), numbers(h), numbers(o, h, fan=h), numbers(o))
    y = network(u, w, activations)
    v, m = doubled(u), tuple(map(doubled, w))
    z = plain_network(v, m, activations)
    assert off(y, z) <= TOLERANCE
    g = torch.randn_like(y)
    pairs = zip(gradients(y, (u, *w), g), gradients(z, (v, *m), g), strict=True)
    assert max(off(a, b) for a, b in pairs) <= TOLERANCE


def test_the_gelu_of_the_kernels_is_right_to_three_ten_millionths_of_x():
    """Also far out, where it vanishes and where it is the identity."""
    x = torch.cat((torch.linspace(-14, 14, 20001), torch.tensor([0.0, 1e-30, 50.0, -50.0])))
    one, zero = torch.ones(1, 1), torch.zeros(1)
    y = network(x[:, None], (one, zero, one, zero), Activations("identity", "identity", "gelu"))[
        :, 0
    ]
    exact = functional.gelu(x.double())
    assert ((y - exact).abs() <= 3e-7 * x.abs().clamp(min=1e-30)).all()


def test_small_gradients_of_large_values_are_not_subnormal():
    # products with subnormal numbers are fifty times slower
    u = torch.linspace(-40, 40, 801).reshape(1, -1, 1).requires_grad_()
    weights = (torch.ones(1, 1), torch.zeros(1), torch.ones(1, 1), torch.zeros(1))
    y = network(u, weights, Activations("identity", "identity", "gelu"))
    (slope,) = torch.autograd.grad(y, u, torch.full_like(y, 1e-6))
    assert not ((slope != 0) & (slope.abs() < torch.finfo(slope.dtype).tiny)).any()


def test_the_derivative_of_a_derivative_is_that_of_the_formula():
    u, w, between, activations = layer("two axes")

    def penalty(layer_of, x, weights):
        y = layer_of(x, weights, between, activations)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), (x, weights.W, weights.R))

    v, m = doubled(u), LayerWeights(*map(doubled, w.all()))
    pairs = zip(penalty(fourier_layer, u, w), penalty(plain_layer, v, m), strict=True)
    assert max(off(a, b) for a, b in pairs) <= 5 * TOLERANCE


def test_the_same_call_gives_the_same_bits():
    u, w, between, activations = layer("three axes")
    g = torch.randn(*u.shape[:-1], 32)
    runs = []
    for _ in range(2):
        y = fourier_layer(u, w, between, activations)
        runs.append((y, *gradients(y, (u, *w.all()), g)))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_two_threads_compute_what_one_does():
    u, w, between, activations = layer("two axes")
    g, found, before = torch.randn(3, 24, 20, 20), [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            y = fourier_layer(u, w, between, activations)
            found.append((y, *gradients(y, (u, *w.all()), g)))
    finally:
        torch.set_num_threads(before)
    assert max(off(a, b) for a, b in zip(*found, strict=True)) <= TOLERANCE


def test_only_spectra_and_the_input_are_kept():
    u, w, between, activations = layer("several tiles")
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        fourier_layer(u, w, between, activations)
    weights = sum(x.numel() for x in w.all() if x is not None)
    share = (sum(x.numel() for x in kept) - weights) / u.numel()
    # of 300 points 7 frequencies are kept, doubled: those of x, and of half as many channels of z
    assert share <= 1 + 14 / 300 + 7 / 300 + 1e-9


def flags(address: int) -> list[str]:
    """What the system knows of the memory there."""
    met = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            low, high = (int(x, 16) for x in first.split("-"))
            met = low <= address < high
        elif met and first == "VmFlags:":
            return rest
    return []


@pytest.mark.skipif(sys.platform != "linux", reason="pages of two sizes are Linux's")
@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="a kernel without large pages"
)
def test_large_results_are_asked_for_in_large_pages():
    # else an allocator that gives memory back costs a page fault for every 4 kB of each result
    u = torch.randn(2, 2**17, 4, requires_grad=True)
    weights = (torch.randn(8, 4), torch.randn(8), torch.randn(32, 8), torch.randn(32))
    y = network(u, weights, Activations())
    (g,) = torch.autograd.grad(y.sum(), u)
    for x in (y, g):
        assert "hg" in flags(x.data_ptr() + x.numel() * x.element_size() // 2)
