"""Layers of several groups of channels as Python source: their class is an argument."""

import torch

import opdsl
from opdsl.compiler import load
from opdsl.export.python import emit_python

TEXT = """edition 2026
model Grouped {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 9)
  input v : D -> R^6
  output w : D -> R^3
  h = linear(v, out = 4, copies = 3) |> norm(kind = group, copies = 3)
  s = skip(h, kind = soft, copies = 3) + spectral_conv(h, modes = 4, copies = 3)
  w = linear(s, out = 1, copies = 3)
}
"""


def test_the_source_of_grouped_layers_computes_what_the_module_does():
    source = emit_python(load(TEXT))
    names = {}
    exec(compile(source, "grouped.py", "exec"), names)  # noqa: S102  our own text
    ours, theirs = opdsl.compile(TEXT).eval(), names["Grouped"]().eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 9, 12)
    torch.testing.assert_close(theirs(x), ours(x))


def test_the_source_contains_the_layers_that_the_model_has_and_no_others():
    alone = TEXT.replace(" + spectral_conv(h, modes = 4, copies = 3)", "")
    classes = ("class GroupedLayer(", "class SpectralConv(")
    assert [x in emit_python(load(TEXT)) for x in classes] == [True, True]
    assert [x in emit_python(load(alone)) for x in classes] == [True, False]
