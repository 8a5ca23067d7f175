import pytest
import torch

from opdsl.lower.fuse import PATTERNS, fusions
from opdsl.lower.module import lower
from opdsl.nn.kernels import fourier_layer
from opdsl.nn.spectral.conv import SpectralConv
from tests.programs import graph

HEAD = """edition 2026

from std.fourier import FNOBlock, FourierLayer
from std.pointwise import ChannelMLP, Lift, Project

model M {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 12)
  input a : D -> R^1
  output u : D -> R^1

"""
BLOCKS = "u = a |> Lift(out = 8) |> repeat 2 { %s } |> Project(out = 1, hidden = 12)"
OTHER = "FourierLayer(modes = 2, to = D / 2) |> resample(to = D)"
FUSED = {
    "neuraloperator's block": (BLOCKS % "FNOBlock(modes = 3)", 4),
    "the paper's layer": (BLOCKS % "FourierLayer(modes = 3)", 4),
    "bent by relu": (BLOCKS % "FNOBlock(modes = 3, act = relu)", 4),
    "Tucker factors": (BLOCKS % "FNOBlock(modes = 3, factor = tucker, rank = 0.5)", 4),
    "one set of weights": (BLOCKS.replace("2 {", "2 shared {") % "FNOBlock(modes = 3)", 4),
    "a matrix as gate": (
        """v = a |> Lift(out = 8)
  h = spectral_conv(v, modes = 3, out = 6) + linear(v, out = 6)
  w = ChannelMLP(gelu(h)) + skip(v, kind = linear, out = 6)
  u = w |> Project(out = 1, hidden = 12)""",
        3,
    ),
    # a norm stands between the parts: only networks at each point are left
    "normalised": (BLOCKS % "FNOBlock(modes = 3, normalise = instance)", 4),
    "an unknown activation": (BLOCKS % "FourierLayer(modes = 3, act = tanh)", 4),
    "used twice": ("k = spectral_conv(a, modes = 3)\n  u = k + linear(a, out = 1) + k", 0),
    "another grid": (BLOCKS.replace("repeat 2 { %s }", "%s") % OTHER, 2),
}
TOLERANCE = 5e-6  # relative, of float32 on both sides
needs_kernels = pytest.mark.skipif(
    not fourier_layer.kernels_available(), reason="no C++ compiler here"
)


def text(name: str) -> str:
    return HEAD + "  " + FUSED[name][0] + "\n}\n"


def module(name: str):
    torch.manual_seed(0)
    return lower(graph(text(name)))


def results(made, x, fuse):
    made.fuse = fuse
    made.zero_grad()
    y = made(x)
    y.square().sum().backward()
    return {"y": y.detach(), **{k: p.grad.clone() for k, p in made.named_parameters()}}


def assert_close(whole, plain):
    # what vanishes, as the gradient of a constant before a norm, is as noisy as the largest
    noise = 1e-6 * max(x.norm() for x in plain.values())
    for key, value in plain.items():
        assert (whole[key] - value).norm() <= TOLERANCE * value.norm() + noise, key


@pytest.mark.parametrize("name", FUSED)
def test_what_is_recognised(name):
    found = fusions(graph(text(name)))
    assert len(found) == FUSED[name][1]
    nodes = [x for fusion in found for x in fusion.nodes]
    assert len(nodes) == len(set(nodes))


@needs_kernels
@pytest.mark.parametrize("name", FUSED)
def test_a_fused_graph_is_the_plain_one_forward_and_backward(name):
    made = module(name)
    x = torch.randn(3, 1, 16, 13)
    plain, whole = results(made, x, fuse=False), results(made, x, fuse=True)
    assert_close(whole, plain)


@needs_kernels
def test_less_modes_take_part_in_both():
    made = module("neuraloperator's block")
    made.limit_modes(1)
    x = torch.randn(2, 1, 12, 12)
    plain, whole = results(made, x, fuse=False), results(made, x, fuse=True)
    assert_close(whole, plain)


@needs_kernels
def test_factors_are_applied_one_by_one_where_that_is_less_work():
    made = module("Tucker factors")
    convolutions = [x for x in made.modules() if isinstance(x, SpectralConv)]
    for x in convolutions:
        x.in_ranks = not x.in_ranks  # the other way
    x = torch.randn(2, 1, 12, 12)
    assert_close(results(made, x, fuse=True), results(made, x, fuse=False))
    assert convolutions


@needs_kernels
def test_weights_stay_where_they_are():
    made = module("neuraloperator's block")
    names = set(made.state_dict())
    made.fuse = True
    made(torch.randn(2, 1, 12, 12))
    assert set(made.state_dict()) == names


@needs_kernels
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch's own jvp
@pytest.mark.parametrize("how", ["double", "autocast", "functional", "forward mode", "export"])
def test_what_the_kernels_cannot_do_runs_plainly(how):
    made, x = module("neuraloperator's block"), torch.randn(2, 1, 12, 12)
    made.fuse = False
    there = made(x)
    made.fuse = True
    match how:
        case "double":
            y = made.double()(x.double())
        case "autocast":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y = made(x)
            there = y  # its own precision
        case "functional":
            y = torch.func.vmap(lambda z: made(z[None])[0])(x)
        case "forward mode":
            y = torch.func.jvp(made, (x,), (torch.ones_like(x),))[0]
        case _:
            y = torch.export.export(made, (x,)).module()(x)
    assert torch.allclose(y.float(), there.float(), atol=1e-5)


@needs_kernels
def test_a_penalty_on_the_derivative_by_the_input_trains():
    made, x = module("neuraloperator's block"), torch.randn(2, 1, 12, 12, requires_grad=True)
    found = {}
    for fuse in (False, True):
        made.fuse = fuse
        made.zero_grad()
        (slope,) = torch.autograd.grad(made(x).sum(), x, create_graph=True)
        slope.square().sum().backward()
        found[fuse] = [p.grad.clone() for p in made.parameters() if p.grad is not None]
    for plain, whole in zip(found[False], found[True], strict=True):
        assert (plain - whole).norm() <= 1e-5 * plain.norm()


def test_without_kernels_the_same_graph_runs_plainly(monkeypatch):
    made, x = module("neuraloperator's block"), torch.randn(2, 1, 12, 12)
    made.fuse = False
    there = made(x)
    made.fuse = True
    monkeypatch.setattr("opdsl.lower.fuse.running.kernels_available", lambda: False)
    assert torch.equal(made(x), there)


def test_the_plan_fuses_what_is_large_and_what_is_transformed_by_products():
    made = module("neuraloperator's block")
    large, small = made.plan({"D": (128, 128)}, 4), made.plan({"D": (16, 16)}, 1)
    assert len(large.fused) == FUSED["neuraloperator's block"][1]
    assert not small.fused
    assert "nodes as one" in next(iter(large.fused.values()))


def test_an_earlier_pattern_takes_the_whole_layer():
    first, *_ = PATTERNS
    kinds = [x.kind for x in fusions(graph(text("neuraloperator's block")))]
    assert first.__name__ == "fourier_layer"
    assert kinds == ["network", "fourier_layer", "fourier_layer", "network"]
