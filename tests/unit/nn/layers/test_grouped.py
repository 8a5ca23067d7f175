"""`copies` of a layer: the same operator on each group of channels."""

import pytest
import torch

from opdsl.blocks.pointwise.linear import Linear
from opdsl.blocks.pointwise.norm import Norm
from opdsl.blocks.pointwise.skip import Skip
from opdsl.blocks.spectral.spectral_conv import SpectralConv
from opdsl.ir.axes import Axis
from opdsl.ir.block import Refusal
from opdsl.ir.spaces import Domain, Space

D = Domain(name="D", axes=(Axis(name="x", boundary="periodic"), Axis(name="y")))
GRID = (7, 6)
BLOCKS = {
    "linear": (Linear, {"out": 3}),
    "norm by groups": (Norm, {"kind": "group", "groups": 2}),
    "norm by layers": (Norm, {"kind": "layer"}),
    "norm of instances": (Norm, {}),
    "skip": (Skip, {"kind": "linear", "out": 3}),
    "spectral_conv": (SpectralConv, {"modes": 2, "out": 3}),
    "factors": (SpectralConv, {"modes": 2, "factor": "tucker", "rank": 0.5}),
}
each_block = pytest.mark.parametrize("name", BLOCKS)


def lowered(name: str, copies: int, channels: int) -> torch.nn.Module:
    kind, fields = BLOCKS[name]
    made = kind(**fields, copies=copies).lower(Space(domain=D, channels=channels)).double()
    with torch.no_grad():
        for i, p in enumerate(made.parameters()):
            torch.manual_seed(i)
            p.normal_()
    return made


@each_block
def test_every_group_meets_the_same_layer(name):
    x = torch.randn(2, *GRID, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    alone, shared = lowered(name, 1, 4), lowered(name, 3, 12)
    expected = torch.cat([alone(x[..., i : i + 4]) for i in (0, 4, 8)], -1)
    torch.testing.assert_close(shared(x), expected)


def test_a_batch_norm_takes_the_mean_over_the_copies_too():
    x = torch.randn(2, *GRID, 8, generator=torch.Generator().manual_seed(7))
    shared = Norm(kind="batch", copies=2).lower(Space(domain=D, channels=8))
    alone = torch.nn.BatchNorm2d(4)
    together = torch.cat(x.split(4, -1)).movedim(-1, 1)
    expected = torch.cat(alone(together).movedim(1, -1).split(2), -1)
    torch.testing.assert_close(shared(x), expected)


@each_block
def test_the_weights_are_there_once_and_the_work_for_each(name):
    kind, fields = BLOCKS[name]
    one = kind(**fields).cost(Space(domain=D, channels=4))
    three = kind(**fields, copies=3).cost(Space(domain=D, channels=12))
    sizes = {D.atom(0): 7, D.atom(1): 6}
    assert three.params == one.params
    assert three.bytes.at(sizes) == 3 * one.bytes.at(sizes)
    assert three.flops.at(sizes) <= 3 * one.flops.at(sizes)


@each_block
def test_channels_that_do_not_split_are_refused(name):
    kind, fields = BLOCKS[name]
    with pytest.raises(Refusal) as met:
        kind(**fields, copies=3).infer(Space(domain=D, channels=8))
    assert (met.value.code, met.value.at) == ("OP0303", "copies")
