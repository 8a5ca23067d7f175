"""`std.codomain` against neuraloperator's CODALayer: one function at one resolution, given its N.

Whole models are compared in test_import_codano.py, with the fault that makes them equal everywhere.
"""

import math
import re
import warnings

import pytest
import torch

from opdsl import compiler
from opdsl.compiler import load
from opdsl.lower.module import lower
from opdsl.resources import root

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    reference = pytest.importorskip(
        "neuralop.layers.coda_layer",
        reason="neuraloperator is not importable here",
        exc_type=ImportError,
    )
pytestmark = pytest.mark.filterwarnings("ignore")  # what is warned of there is not ours

PROGRAM = """
edition 2026

from std.codomain import CodomainLayer

model Reference {{
  domain D = grid({axes}, boundary = periodic, min = 5)
  input v : D -> R^6
  output w : D -> R^6

  layer = CodomainLayer(v, tokens = 3, modes = 2, heads = {heads}, temperature = {temperature})
  w = layer
}}
"""
PARTS = {
    "key": "Key",
    "query": "Query",
    "value": "Value",
    "one": "multi_head_proj",
    "inner": "mixer",
}
NORMS = {
    "vn": "norm1",
    "a": "attention_normalizer",
    "inner.norm": "mixer_in_normalizer",
    "w.norm": "mixer_out_normalizer",
}
INNER = (
    (r"^k\.weight$", "convs.{i}.weight.tensor"),
    (r"^k\.bias$", "convs.{i}.bias"),
    (r"^s\.weight$", "fno_skips.{i}.conv.weight"),
    (r"^gate\.weight$", "channel_mlp_skips.{i}.conv.weight"),
    (r"^inner\.(weight|bias)$", r"channel_mlp.{i}.fcs.0.\1"),
    (r"^mlp\.linear\.(weight|bias)$", r"channel_mlp.{i}.fcs.1.\1"),
)


def renamed(name: str) -> str:
    """The reference's name of a weight of ours."""
    path = name.removeprefix("layer.").replace(".each.", ".")
    head, _, last = path.rpartition(".")
    if head in NORMS:
        return f"{NORMS[head]}.{last}"
    found = re.fullmatch(r"(\w+)\.(?:token_operator(_2)?\.)?(.*)", path)
    assert found, name
    part, second, rest = found.groups()
    for pattern, theirs in INNER:
        if re.match(pattern, rest):
            return f"{PARTS[part]}.{re.sub(pattern, theirs, rest).format(i=int(bool(second)))}"
    raise AssertionError(name)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(("axes", "size"), [("x, y", (8, 9)), ("x, y, z", (6, 5, 8))])
def test_a_codomain_layer_is_the_references_at_the_resolution_of_its_temperature(axes, size, heads):
    torch.manual_seed(heads)
    dims = len(size)
    theirs = reference.CODALayer(
        n_modes=(5,) * dims, n_heads=heads, token_codimension=2, per_channel_attention=False,
        scale=1, factorization=None, temperature=0.5,
    )  # fmt: skip
    temperature = 0.5 / math.sqrt(math.prod(size))
    ours = compiler.compile(PROGRAM.format(axes=axes, heads=heads, temperature=temperature))
    weights = dict(theirs.named_parameters())
    parameters = dict(ours.named_parameters())
    assert {renamed(x) for x in parameters} == weights.keys()
    with torch.no_grad():
        for name, mine in parameters.items():
            x = weights[renamed(name)].normal_()
            x = torch.view_as_real(x.movedim((0, 1), (-2, -1))) if x.is_complex() else x
            mine.copy_(x.reshape(mine.shape))
    v = torch.randn(2, 6, *size)
    u, w = theirs(v), ours(v)
    assert (w - u).norm() <= 1e-5 * u.norm()


def test_a_variable_is_added_to_the_spec_by_its_mark_alone():
    flow, heat = (
        {k: x.shape for k, x in lower(load(root("specs") / f"{name}.op")).state_dict().items()}
        for name in ("coda_no", "coda_no_heat")
    )
    assert heat.keys() - flow.keys() == {"mark_T.weight"}
    assert {k: heat[k] for k in flow} == flow
