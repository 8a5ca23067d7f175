"""Imported RNOs compute what neuraloperator's do: outputs, gradients, numbers of parameters.

It is compared at its newest commit; put a checkout on PYTHONPATH to run this.
"""

import warnings
from copy import deepcopy

import pytest
import torch
from torch.func import functional_call

from opdsl.diagnostics import OpError
from opdsl.migrate.neuralop.calls import read_call
from opdsl.migrate.neuralop.importing import (
    from_neuralop,
    import_call,
    module_of,
    plain_weights,
    taken_weights,
)
from tests import imports
from tests.imports import Variant

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    reference = pytest.importorskip(
        "neuralop.models", reason="neuraloperator is not importable here", exc_type=ImportError
    )
pytestmark = pytest.mark.filterwarnings("ignore")  # what is warned of there is not ours

LINE = ((16,), (25,), (32,))
PLANE = ((12, 10), (9, 13), (16, 16))
TIMES = 3
EXACT = 1e-6  # relative, double precision but for coordinates, which are in single precision there


def rno(name: str, sizes=LINE, **named) -> Variant:
    usual = {
        "n_modes": (8,),
        "in_channels": 2,
        "out_channels": 1,
        "hidden_channels": 6,
        "n_layers": 2,
    }
    return Variant(name, "RNO", usual | named, sizes)


VARIANTS = [
    rno("default"),
    rno("one layer", n_layers=1),
    rno("three layers with skips", n_layers=3, rno_skip=True),
    rno("odd modes", n_modes=(7,)),
    rno("no coordinates", positional_embedding=None),
    rno("instance norm", norm="instance_norm"),
    rno("group norm of two groups", norm="group_norm", norm_groups=2),
    rno("batch norm", norm="batch_norm"),
    rno("identity skips", fno_skip="identity", channel_mlp_skip="identity"),
    rno("linear mlp skip, soft skip", fno_skip="soft-gating", channel_mlp_skip="linear"),
    rno("no skips", fno_skip=None, channel_mlp_skip=None),
    rno("no channel mlp", use_channel_mlp=False),
    rno("wide channel mlp", channel_mlp_expansion=2.0, channel_mlp_dropout=0.1),
    rno("another activation, stabilizer", non_linearity=torch.tanh, stabilizer="tanh"),
    rno("preactivation", preactivation=True),
    rno("preactivation and norm", preactivation=True, norm="group_norm"),
    rno("lifting of one layer", lifting_channel_ratio=0, projection_channel_ratio=3),
    rno("Tucker", factorization="tucker", rank=0.5),
    rno("TT", factorization="tt", rank=0.4),
    rno("separable", separable=True),
    rno("its output is its input", out_channels=2),
    rno("padding", ((16,), (24,), (32,)), domain_padding=0.125),
    rno("padding that is rounded", domain_padding=0.1),
    rno("padding of each axis", PLANE, n_modes=(6, 4), domain_padding=[0.1, 0.3], n_layers=1),
    rno("resolution up", resolution_scaling_factor=[2, 1]),
    rno("resolution down and up", ((18,), (32,)), resolution_scaling_factor=[0.5, 2]),
    rno(
        "resolution change in two axes",
        ((12, 10), (8, 13)),
        n_modes=(4, 4),
        resolution_scaling_factor=[1, 2],
    ),
    rno("two axes", PLANE, n_modes=(6, 4)),
    rno("two axes, norm, skips", PLANE, n_modes=(5, 6), norm="instance_norm", rno_skip=True),
    rno("three axes", ((6, 7, 8), (8, 6, 6)), n_modes=(4, 4, 3), n_layers=1),
]


class Rolled(torch.nn.Module):
    """A sequence goes in, the last prediction comes out."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, sequence, *states):
        return self.steps(sequence.shape[1], sequence, *states)[:, -1]

    def steps(self, count, sequence, *states):
        names = [x.name for x in self.net.graph.inputs[1:]]
        told = dict(zip(names, states, strict=True)) if states else {}
        return self.net.rollout(count, x=sequence, **told)["y"]


def made(variant: Variant) -> torch.nn.Module:
    torch.manual_seed(0)
    return imports.made(reference.RNO(**variant.named))


def exact(theirs: torch.nn.Module) -> torch.nn.Module:
    """The same model with numbers of double precision."""
    doubled = deepcopy(theirs)
    for x in (*doubled.parameters(), *doubled.buffers()):
        x.data = x.data.to(torch.complex128 if x.is_complex() else torch.float64)
    return doubled


def gaps(theirs, found, size, dtype=torch.float32, *, begun=False) -> dict[str, float]:
    """As `imports.gaps`, of the last prediction for a sequence; from given states if `begun`."""
    ours = Rolled(module_of(found, plain_weights(theirs)).eval().to(dtype))
    leaves = dict(theirs.named_parameters())
    x = torch.randn(2, TIMES, theirs.in_channels, *size, dtype=dtype, requires_grad=True)
    states = [torch.randn(2, theirs.hidden_channels, *size) for _ in theirs.layers if begun]
    weights = taken_weights(found, plain_weights(theirs) | leaves)
    u = theirs(x, list(states) or None)
    firsts = [x.bias_h.detach() for x in theirs.layers]
    away = [h - b for h, b in zip(states, firsts, strict=begun)]
    v = functional_call(ours, {f"net.{k}": y for k, y in weights.items()}, (x, *away))
    assert v.shape == u.shape
    g = torch.randn_like(u)
    a = torch.autograd.grad(u, [x, *leaves.values()], g, allow_unused=True)
    b = torch.autograd.grad(v, [x, *leaves.values()], g, allow_unused=True)
    return {
        "output": imports.relative(v, u),
        "input gradient": imports.relative(b[0], a[0]),
        "weight gradient": imports.weight_gap(a[1:], b[1:]),
    }


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda x: x.name)
def test_an_imported_rno_is_the_references(variant):
    theirs = made(variant)
    found = imports.imported(theirs)
    # the first state is constant, and a norm of a constant is rounding
    begun = variant.named.get("norm") in {"instance_norm", "group_norm"}
    for size in variant.sizes:
        told = gaps(theirs, found, size, begun=begun)
        if begun:
            del told["weight gradient"]  # a small one is all rounding; see below
        assert max(told.values()) <= imports.TOLERANCE, (size, told)
    redundant = imports.redundant(theirs, found)
    assert imports.counted(found) == imports.parameters(theirs) - redundant


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda x: x.name)
def test_in_double_precision_every_gradient_is_the_references(variant, monkeypatch):
    """It has single precision written into it, in this one name."""
    monkeypatch.setattr(torch, "cfloat", torch.complex128)
    theirs = exact(made(variant))
    told = gaps(theirs, imports.imported(theirs), variant.sizes[0], torch.float64)
    assert max(told.values()) <= EXACT, told


def test_a_warm_up_goes_on_as_the_references_prediction():
    theirs = made(rno("a loop", out_channels=2))
    net = Rolled(from_neuralop(theirs)[1].eval())
    x = torch.randn(2, TIMES, 2, 20)
    with torch.no_grad():
        found = net.steps(TIMES + 4, x)[:, TIMES - 1 :]
        torch.testing.assert_close(found, theirs.predict(x, 5), rtol=1e-5, atol=1e-5)


def test_a_call_is_the_program_of_its_module():
    told = import_call(read_call("RNO((8,), 2, 1, 6, n_layers=2)")).text
    assert told == imports.imported(made(rno("as usual"))).text


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("return_sequences=True", "return_sequences"),
        ("resolution_scaling_factor=0.7", "grids do not divide each other"),
        ("resolution_scaling_factor=2, rno_skip=True", "rno_skip = True"),
        ("resolution_scaling_factor=2, domain_padding=0.1", "domain_padding"),
        ("complex_data=True", "complex_data"),
        ("conv_module=SphericalConv", "conv_module"),
        ('norm="ada_in"', "norm = ada_in"),
    ],
)
def test_what_has_no_counterpart_is_named(more, says):
    with pytest.raises(OpError) as caught:
        import_call(read_call(f"RNO((8,), 2, 1, 6, {more})"))
    (told,) = caught.value.diagnostics
    assert told.code == "OP0641"
    assert says in told.message
