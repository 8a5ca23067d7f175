"""Reading on after mistakes: each is told once, and the rest of the program is there."""

import pytest

from opdsl.diagnostics import Source
from opdsl.syntax.parser import parse
from opdsl.syntax.recovery import MOST

FIVE = """\
edition 2026

from std.fourier import FourierLayer

model M {
  domain D = grid(x: 0..1, boundary = periodic, min = 33
  input a : D -> R^1
  inptu b : D -> R^1
  output u : D -> R^1
  param width int = 64
  h = a |> Lift(out = width
  k = h |> FourierLayer(modes = 16) + |> g()
  v = concat(h, k)
  u =
}

train M {
  lr = 1e-3
}
"""


def names(file):
    return [[x.text for x in getattr(s, "names", ())] or [s.name.text] for s in file.items[1].body]


def test_five_wrong_statements_give_five_diagnostics_and_a_partial_tree():
    file, faults = parse(Source("f.op", FIVE))
    assert [x.labels[0].span.line for x in faults] == [6, 8, 10, 11, 12, 14]
    assert names(file) == [["a"], ["u"], ["v"]]
    assert len(file.items) == 3


def test_the_names_of_lost_statements_are_kept():
    file, _ = parse(Source("f.op", FIVE))
    assert {"D", "b", "width", "h", "k", "u"} <= {*file.lost}
    assert not {"v", "M", "a", "Lift"} & {*file.lost}


def test_a_definition_with_a_wrong_head_is_lost_as_a_whole():
    text = "edition 2026\nmodel M M {\n  u = = a\n  v = (\n}\nblock B { }\n"
    file, faults = parse(Source("f.op", text))
    assert len(faults) == 1
    assert [x.name.text for x in file.items] == ["B"]
    assert file.lost == ("M",)


def test_what_follows_a_block_that_is_not_closed_is_read():
    text = "edition 2026\nmodel A {\n  u = a\nmodel B {\n  v = = b\n}\ntrain A {\n  lr = 1\n"
    file, faults = parse(Source("f.op", text))
    assert [x.labels[0].span.line for x in faults] == [4, 5, 8]
    assert [x.name.text for x in file.items] == ["A", "B", "A"]


def test_two_braces_that_are_not_closed_before_a_model_are_one_mistake():
    text = "edition 2026\ntrain A {\n  data x {\n    a = 3\n\nmodel B { }\n"
    file, faults = parse(Source("f.op", text))
    assert len(faults) == 1
    assert [x.name.text for x in file.items] == ["A", "B"]


def test_a_wrong_setting_leaves_the_others():
    text = "edition 2026\ntrain A {\n  lr =\n  b = 3\n  data x { path = }\n  c = 4\n}\n"
    file, faults = parse(Source("f.op", text))
    assert [x.labels[0].span.line for x in faults] == [3, 5]
    assert [x.name.text for x in file.items[0].body] == ["b", "c"]


@pytest.mark.parametrize("wrong", ["  u = (", "  u = f(", "  u = a |> repeat 2 {", '  u = "'])
def test_an_open_bracket_or_quote_costs_one_statement(wrong):
    text = f"edition 2026\nmodel M {{\n  s = a\n{wrong}\n  t = b\n}}\n"
    file, faults = parse(Source("f.op", text))
    assert len(faults) == 1
    assert [[x.text for x in s.names] for s in file.items[0].body] == [["s"], ["t"]]


def test_diagnostics_come_in_the_order_of_the_text():
    text = "model M {\n  u = = a\n}\nedition 2026\nblock B {\n  v = )\n}\n"
    _, faults = parse(Source("f.op", text))
    starts = [x.labels[0].span.start for x in faults]
    assert starts == sorted(starts)


def test_not_more_than_so_many_mistakes_are_told():
    text = "edition 2026\nmodel M {\n" + "  u = = a\n" * 100 + "}\n"
    file, faults = parse(Source("f.op", text))
    assert len(faults) == MOST
    assert file.items == ()


def test_a_text_that_is_no_program_gives_diagnostics_only():
    file, faults = parse(Source("f.op", "Dear reader,\n\nthis is 'prose'.\n"))
    assert faults
    assert file.items == ()
