"""The same weights, the same function as neuraloperator (where it is right), with gradients.

The reference counts modes on both sides: `n_modes = 2 m + 1` is our |k| <= m. It is compared at its
newest commit; put a checkout on PYTHONPATH to run this.
"""

import re
import warnings

import pytest
import torch

from opdsl import compiler
from opdsl.nn import KERNELS, SpectralConv

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    reference = pytest.importorskip(
        "neuralop.models", reason="neuraloperator is not importable here", exc_type=ImportError
    )

CASES = {1: ((3,), (16,)), 2: ((3, 4), (12, 16)), 3: ((1, 2, 2), (4, 6, 8))}
TOLERANCE = 1e-5  # relative, float32
NORMS = {"none": None, "instance": "instance_norm", "group": "group_norm", "batch": "batch_norm"}


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).norm() <= TOLERANCE * b.norm())


def last(x: torch.Tensor) -> torch.Tensor:
    """Channels-first to channels-last."""
    return x.movedim(1, -1)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("dims", CASES)
def test_the_spectral_convolution_is_the_references(dims, odd, kernel):
    """Also at odd sizes, where release 2.0.0 of the reference is wrong and its head is right."""
    modes, size = CASES[dims][0], tuple(n + odd for n in CASES[dims][1])
    torch.manual_seed(dims)
    theirs = reference.fno.SpectralConv(3, 4, tuple(2 * m + 1 for m in modes))
    ours = SpectralConv(3, 4, modes)
    with torch.no_grad():
        R = theirs.weight.to_tensor().movedim((0, 1), (-2, -1))
        ours.weight.copy_(torch.view_as_real(R))
        ours.bias.copy_(theirs.bias.flatten())
    x = torch.randn(2, 3, *size, requires_grad=True)
    u = last(theirs(x))
    v = ours(last(x), kernel=kernel)
    assert close(v, u)
    g = torch.randn_like(v)
    gx, gR = torch.autograd.grad(u, [x, theirs.weight.tensor], g)
    hx, hR = torch.autograd.grad(v, [x, ours.weight], g)
    assert close(hx, gx)
    assert close(hR, torch.view_as_real(gR.movedim((0, 1), (-2, -1))))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("more", [0, 1, 4])
@pytest.mark.parametrize("dims", CASES)
def test_its_layout_of_modes_is_the_references(dims, more, kernel):
    """`modes = m` is `n_modes = 2 m`; also where the grid has just 2 m points."""
    modes = CASES[dims][0]
    size = tuple(2 * m + more for m in modes)
    torch.manual_seed(dims)
    theirs = reference.fno.SpectralConv(3, 4, tuple(2 * m for m in modes))
    ours = SpectralConv(3, 4, modes, layout="neuralop")
    with torch.no_grad():
        R = theirs.weight.to_tensor().movedim((0, 1), (-2, -1))
        ours.weight.copy_(torch.view_as_real(R))
        ours.bias.copy_(theirs.bias.flatten())
    x = torch.randn(2, 3, *size, requires_grad=True)
    u, v = last(theirs(x)), ours(last(x), kernel=kernel)
    assert close(v, u)
    g = torch.randn_like(v)
    (gx,), (hx,) = (torch.autograd.grad(y, [x], g) for y in (u, v))
    assert close(hx, gx)


@pytest.mark.parametrize("in_ranks", [False, True])
@pytest.mark.parametrize("way", ["reconstructed", "factorized"])
@pytest.mark.parametrize("factor", ["cp", "tucker", "tt"])
@pytest.mark.parametrize("dims", CASES)
def test_its_factors_are_the_references(dims, factor, way, in_ranks):
    modes, size = CASES[dims]
    torch.manual_seed(dims)
    theirs = reference.fno.SpectralConv(
        3, 4, tuple(2 * m for m in modes), factorization=factor, rank=0.6, implementation=way
    )
    found = theirs.weight.rank
    ranks = (found,) if factor == "cp" else tuple(found[1:-1] if factor == "tt" else found)
    ours = SpectralConv(
        3, 4, modes, layout="neuralop", factor=factor, ranks=ranks, in_ranks=in_ranks
    )
    with torch.no_grad():
        pairs = list(zip(ours.weight.factors, theirs.weight.factors, strict=True))
        if factor == "tucker":
            pairs.append((ours.weight.core, theirs.weight.core))
        for mine, other in pairs:
            torch.nn.init.normal_(other)
            mine.copy_(torch.view_as_real(other))
        ours.bias.copy_(theirs.bias.flatten())
    x = torch.randn(2, 3, *size)
    assert close(ours(last(x)), last(theirs(x)))


@pytest.mark.parametrize("separable", [False, True])
def test_a_separable_layer_is_the_references(separable):
    theirs = reference.fno.SpectralConv(4, 4, (6, 8), separable=separable)
    ours = SpectralConv(4, 4, (3, 4), layout="neuralop", separable=separable)
    with torch.no_grad():
        R = theirs.weight.to_tensor()
        moved = R.movedim(0, -1) if separable else R.movedim((0, 1), (-2, -1))
        ours.weight.copy_(torch.view_as_real(moved))
        ours.bias.copy_(theirs.bias.flatten())
    x = torch.randn(2, 4, 12, 15)
    assert close(ours(last(x)), last(theirs(x)))


def program(normalise: str) -> str:
    return f"""
edition 2026

from std.fourier import FNOBlock
from std.pointwise import Lift, Project

model Reference {{
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 7)
  input a : D -> R^2
  output u : D -> R^1
  param depth : int = 3

  u = concat(a, coords(D))
    |> Lift(out = 8)
    |> repeat depth as i {{
         FNOBlock(
           modes = (3, 2),
           act = if i < depth - 1 then gelu else identity,
           normalise = {normalise},
         )
       }}
    |> Project(out = 1, hidden = 16)
}}
"""


# the reference's names of weights, from ours
RENAMED = (
    (r"u\.(lift|project)\.w\.linear\.", r"\1.fcs.0."),
    (r"u\.(lift|project)\.w\.linear_2\.", r"\1.fcs.1."),
    (r"^lift\.", "lifting."),
    (r"^project\.", "projection."),
    (r"u\.repeat\.(\d+)\.fno_block\.k\.weight", r"fno_blocks.convs.\1.weight.tensor"),
    (r"u\.repeat\.(\d+)\.fno_block\.k\.bias", r"fno_blocks.convs.\1.bias"),
    (r"u\.repeat\.(\d+)\.fno_block\.s\.weight", r"fno_blocks.fno_skips.\1.conv.weight"),
    (r"u\.repeat\.(\d+)\.fno_block\.gate\.", r"fno_blocks.channel_mlp_skips.\1."),
    (r"u\.repeat\.(\d+)\.fno_block\.mlp.*\.linear\.", r"fno_blocks.channel_mlp.\1.fcs.0."),
    (r"u\.repeat\.(\d+)\.fno_block\.mlp.*\.linear_2\.", r"fno_blocks.channel_mlp.\1.fcs.1."),
    (r"u\.repeat\.(\d+)\.fno_block\.kn\.", r"fno_blocks.norm.\1:0."),
    (r"u\.repeat\.(\d+)\.fno_block\.mn\.", r"fno_blocks.norm.\1:1."),
)


def renamed(name: str) -> str:
    for pattern, new in RENAMED:
        name = re.sub(pattern, new, name)
    # two norms for each layer, counted through
    return re.sub(r"norm\.(\d+):(\d)", lambda x: f"norm.{2 * int(x[1]) + int(x[2])}", name)


def shaped(theirs: torch.Tensor, ours: torch.Tensor) -> torch.Tensor:
    """A weight of the reference in the shape of ours."""
    if theirs.is_complex():
        theirs = torch.view_as_real(theirs.movedim((0, 1), (-2, -1)))
    return theirs.reshape(ours.shape)


@pytest.mark.parametrize("size", [(12, 16), (13, 15)])
@pytest.mark.parametrize("normalise", NORMS)
def test_the_whole_fourier_neural_operator_is_the_references(normalise, size):
    torch.manual_seed(0)
    theirs = reference.FNO(
        n_modes=(7, 5), in_channels=2, out_channels=1, hidden_channels=8, n_layers=3,
        norm=NORMS[normalise],
    )  # fmt: skip
    # its batch norm wraps torch's
    weights = {re.sub(r"(norm\.\d+)\.norm", r"\1", k): v for k, v in theirs.named_parameters()}
    for name, weight in weights.items():
        if "norm" in name or "skip" in name:  # else they are ones and zeros
            torch.nn.init.normal_(weight)
    ours = compiler.compile(program(normalise))
    parameters = dict(ours.named_parameters())
    assert {renamed(x) for x in parameters} == set(weights)
    with torch.no_grad():
        for name, mine in parameters.items():
            mine.copy_(shaped(weights[renamed(name)], mine))

    x = torch.randn(3, 2, *size)
    u, v = theirs(x), ours(x)
    assert close(v, u)
    (u**2).sum().backward()
    (v**2).sum().backward()
    largest = max(x.grad.norm() for x in weights.values())
    for name, mine in parameters.items():
        wanted = shaped(weights[renamed(name)].grad, mine)
        # a constant before a norm has no effect: its gradient is the rounding noise of the others
        scale = max(wanted.norm(), 0.1 * largest)
        assert (mine.grad - wanted).norm() <= TOLERANCE * scale, name
