"""Imported CODANOs compute what neuraloperator's do: outputs, gradients, numbers of parameters.

It is compared at its newest commit, or as release 2.0.0; put either on PYTHONPATH to run this.
"""

import warnings
from copy import deepcopy
from dataclasses import replace

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

PLANE = ((8, 12), (12, 8), (16, 16))
SPACE = ((8, 8, 8), (8, 12, 8))
EXACT = {2: 1e-10, 3: 2e-6}  # relative, by axes; its way from grid to grid in three is in float32
UX_UY = ("ux", "uy")


def codano(name: str, sizes=PLANE, **named) -> Variant:
    usual = {
        "n_layers": 2,
        "n_modes": [[6, 6]] * 2,
        "hidden_variable_codimension": 4,
        "lifting_channels": 6,
        "projection_channels": 5,
        "attention_token_dim": 2,
        "variable_ids": list(UX_UY),
    }
    return Variant(name, "CODANO", usual | named, sizes)


VARIANTS = [
    codano("default"),
    codano("tokens of one channel", attention_token_dim=1),
    codano("a variable is a token", attention_token_dim=4),
    codano("three variables", variable_ids=["ux", "uy", "p"]),
    codano("one variable", variable_ids=["u"]),
    codano("heads", n_heads=[2, 3]),
    codano("attention of channels", per_channel_attention=True, attention_token_dim=1),
    codano("modes for each layer", n_modes=[[6, 4], [3, 5]]),
    codano("no padding", domain_padding=None),
    codano("another padding", domain_padding=0.125, sizes=((8, 16), (16, 16), (24, 8))),
    codano("positional encoding", use_positional_encoding=True, positional_encoding_dim=3,
           positional_encoding_modes=[6, 6]),
    codano("more encoded frequencies than half of the points", use_positional_encoding=True,
           positional_encoding_modes=[8, 8]),
    codano("static channels", static_channel_dim=2),
    codano("class token", enable_cls_token=True, n_modes=[[6, 4]] * 2),
    codano("all that stands beside the variables", enable_cls_token=True, static_channel_dim=1,
           use_positional_encoding=True, positional_encoding_modes=[4, 4], n_heads=[2, 2],
           n_modes=[[6, 4]] * 2),
    codano("no lifting", lifting_channels=None, static_channel_dim=1),
    codano("no projection", projection_channels=None),
    codano("no projection, class token, no padding", projection_channels=None, domain_padding=0,
           enable_cls_token=True, n_modes=[[6, 4]] * 2),
    codano("two channels of each variable come out", output_variable_codimension=2),
    codano("nonlinear attention, which is none there", nonlinear_attention=True),
    codano("another activation", non_linearity=torch.nn.functional.silu),
    codano("dense weights", layer_kwargs={"factorization": None}),
    codano("CP", layer_kwargs={"factorization": "cp", "rank": 0.6}),
    codano("Tucker of a small rank", layer_kwargs={"rank": 0.3}),
    codano("no norms, another temperature", layer_kwargs={"norm": None, "temperature": 30.0}),
    codano("no channel mlp, soft skips", layer_kwargs={"use_channel_mlp": False,
           "fno_skip": "soft-gating"}),
    codano("wide heads", layer_kwargs={"head_codimension": 3}, n_heads=[2, 1]),
    codano("skips", use_horizontal_skip_connection=True, horizontal_skips_map={3: 0, 2: 1},
           n_layers=4, n_modes=[[6, 6]] * 4),
    codano("coarser scores", attention_scaling_factors=[0.5, 1], sizes=((8, 16), (16, 16))),
    codano("coarser layers", per_layer_scaling_factors=[[0.5, 0.5], [1, 1], [2, 2]], n_layers=3,
           n_modes=[[6, 6]] * 3, sizes=((8, 16), (16, 16))),
    codano("coarser layers with skips", per_layer_scaling_factors=[[1, 1], [0.5, 0.5], [2, 2],
           [1, 1]], n_layers=4, n_modes=[[6, 6]] * 4, use_horizontal_skip_connection=True,
           horizontal_skips_map={3: 0, 2: 0}, enable_cls_token=True, sizes=((16, 16), (24, 16))),
    codano("a finer output", per_layer_scaling_factors=[[1, 1], [2, 2]], domain_padding=None),
    codano("three axes", SPACE, n_modes=[[4, 4, 4], [3, 4, 5]]),
    codano("three axes, all that stands beside the variables", SPACE, n_modes=[[4, 4, 4]] * 2,
           enable_cls_token=True, use_positional_encoding=True,
           positional_encoding_modes=[3, 4, 6], static_channel_dim=1, n_heads=[2, 1]),
]  # fmt: skip


def made(variant: Variant) -> torch.nn.Module:
    """The model, with numbers in what begins as ones and zeros, and marks that count."""
    torch.manual_seed(0)
    # it halves a list of its caller
    named = {k: list(x) if isinstance(x, list) else x for k, x in variant.named.items()}
    # release 2.0.0 asks for the length of what is left out
    count, axes = named["n_layers"], len(named["n_modes"][0])
    named = {
        "n_heads": [1] * count,
        "attention_scaling_factors": [1] * count,
        "per_layer_scaling_factors": [[1] * axes] * count,
    } | named
    theirs = imports.made(reference.CODANO(**named))
    with torch.no_grad():
        for key, x in theirs.named_parameters():
            if "positional" in key or "cls" in key:
                x.mul_(30)  # else they vanish in the division by the points
    return theirs


def exact(theirs: torch.nn.Module) -> torch.nn.Module:
    """The same model with numbers of double precision."""
    doubled = deepcopy(theirs)
    for x in doubled.parameters():
        x.data = x.data.to(torch.complex128 if x.is_complex() else torch.float64)
    return doubled


def gaps(theirs, found, size, dtype=torch.float32) -> dict[str, float]:
    """As `imports.gaps`, with what is given beside the variables."""
    ours = module_of(found, plain_weights(theirs)).eval().to(dtype)
    leaves = dict(theirs.named_parameters())
    names = list(theirs.variable_ids)
    counts = [len(names), *([theirs.static_channel_dim] if theirs.static_channel_dim else [])]
    given = [torch.randn(2, n, *size, dtype=dtype, requires_grad=True) for n in counts]
    u = theirs(given[0], *(given[1:] or [None]), names)
    weights = taken_weights(found, plain_weights(theirs) | leaves)
    v = functional_call(ours, weights, tuple(given))
    assert v.shape == u.shape
    g = torch.randn_like(u)
    used = list(leaves.values())
    a = torch.autograd.grad(u, [*given, *used], g, allow_unused=True)
    b = torch.autograd.grad(v, [*given, *used], g, allow_unused=True)
    n = len(given)
    return {
        "output": imports.relative(v, u),
        "input gradient": max(imports.relative(y, x) for x, y in zip(a[:n], b[:n], strict=True)),
        "weight gradient": imports.weight_gap(a[n:], b[n:]),
    }


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda x: x.name)
def test_an_imported_codano_is_the_references(variant):
    theirs = made(variant)
    found = imports.imported(theirs)
    for size in variant.sizes:
        told = gaps(theirs, found, size)
        del told["weight gradient"]  # small ones are all rounding in float32; see below
        assert max(told.values()) <= imports.TOLERANCE, (size, told)
    redundant = imports.redundant(theirs, found)
    assert imports.counted(found) == imports.parameters(theirs) - redundant


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda x: x.name)
def test_in_double_precision_every_gradient_is_the_references(variant, monkeypatch):
    """It has single precision written into it, in this one name."""
    monkeypatch.setattr(torch, "cfloat", torch.complex128)
    theirs = exact(made(variant))
    found = imports.imported(theirs)
    told = gaps(theirs, found, variant.sizes[0], torch.float64)
    assert max(told.values()) <= EXACT[theirs.n_dim], told


CALL = """CODANO(n_layers=1, n_modes=[[6, 6]], variable_ids=["ux", "uy"], lifting_channels=4,
hidden_variable_codimension=2, projection_channels=3{more})"""


def test_a_call_is_the_program_of_its_module():
    variant = codano("one layer", n_layers=1, n_modes=[[6, 6]], lifting_channels=4,
                     hidden_variable_codimension=2, projection_channels=3,
                     attention_token_dim=1)  # fmt: skip
    told = import_call(read_call(CALL.format(more=', layer_kwargs={"factorization": None}'))).text
    dense = replace(variant, named=variant.named | {"layer_kwargs": {"factorization": None}})
    assert told == imports.imported(made(dense)).text


def test_a_corrected_import_converges():
    variant = codano("corrected", use_positional_encoding=True, positional_encoding_modes=[4, 4])
    text, module = from_neuralop(made(variant), corrected=True)
    assert "faults" not in text.split("edition")[1]
    line = [torch.arange(n, dtype=torch.float64) / n for n in (16, 32)]
    waves = [torch.cos(2 * torch.pi * (x[:, None] + x)).expand(1, 2, -1, -1) for x in line]
    u, v = (module.double()(x) for x in waves)
    w, z = (imports.imported(made(variant)), waves)
    kept = module_of(w, plain_weights(made(variant))).double()
    a, b = (kept(x) for x in z)
    assert imports.relative(v[..., ::2, ::2], u) < 0.2 * imports.relative(b[..., ::2, ::2], a)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (", n_heads=[1], conv_module=SphericalConv", "conv_module = SphericalConv"),
        (", attention_scaling_factors=[0.3]", "attention_scaling_factors"),
        (', layer_kwargs={"preactivation": True}', "preactivation = True"),
        (", horizontal_skips_map={0: 0}", "without `use_horizontal_skip_connection`"),
        (", per_layer_scaling_factors=[[2, 2]]", "padding and an output on another grid"),
    ],
)
def test_what_has_no_counterpart_is_refused(more, says):
    with pytest.raises(OpError) as met:
        import_call(read_call(CALL.format(more=more)))
    (diagnostic,) = met.value.diagnostics
    assert diagnostic.code == "OP0641"
    assert says in diagnostic.message


@pytest.mark.parametrize("count", [1, 2, 4])
def test_variables_without_names_are_counted(count):
    theirs = made(codano("no names", variable_ids=None, enable_cls_token=True))
    _, ours = from_neuralop(theirs, variables=count)
    x = torch.randn(2, count, 8, 12)
    with torch.no_grad():
        gap = imports.relative(ours.eval()(x), theirs(x))
    assert gap <= imports.TOLERANCE


@pytest.mark.parametrize("names", [["uy"], ["uy", "ux"]])
def test_some_of_the_variables_are_those_that_the_reference_is_called_with(names):
    theirs = made(codano("some", use_positional_encoding=True, positional_encoding_modes=[6, 6]))
    _, ours = from_neuralop(theirs, variables=names)
    x = torch.randn(2, len(names), 8, 12)
    with torch.no_grad():
        gap = imports.relative(ours.eval()(x), theirs(x, None, names))
    assert gap <= imports.TOLERANCE


def test_padding_is_rounded_as_there():
    theirs = made(codano("rounded", domain_padding=0.1))
    _, ours = from_neuralop(theirs)
    for size in ((9, 12), (13, 17)):
        x = torch.randn(2, 2, *size)
        with torch.no_grad():
            gap = imports.relative(ours.eval()(x), theirs(x, None, list(UX_UY)))
        assert gap <= imports.TOLERANCE


def test_variables_without_names_are_asked_for():
    with pytest.raises(OpError) as met:
        import_call(read_call("CODANO(n_layers=1, n_modes=[[6, 6]])"))
    assert "`variable_ids` is not given" in met.value.diagnostics[0].message
