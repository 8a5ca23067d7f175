"""What each construct of the language becomes in the tree, and where its spans stand."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from opdsl.diagnostics import OpError, Source, Span
from opdsl.syntax import tree as t
from opdsl.syntax.grammar import machine
from opdsl.syntax.parser import parse, parse_expr
from opdsl.syntax.scan import pieces
from opdsl.syntax.unparse import expr as text_of

PROGRAMS = sorted((Path(__file__).parents[2] / "data" / "language").glob("*.op"))


def items(text: str):
    file, faults = parse(Source("f.op", f"edition 2026\n{text}"))
    assert not faults
    return file.items


def statement(text: str):
    (block,) = items(f"block B {{\n{text}\n}}")
    (made,) = block.body
    return made


def value(text: str):
    return parse_expr(Source("<--set>", text))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda x: x.stem)
def test_an_example_of_the_design_is_read(path):
    file, faults = parse(Source(path.name, path.read_text()))
    assert not faults
    assert file.edition.year == 2026
    assert file.items
    assert file.lost == ()


def test_the_spans_of_an_example_hold_its_words():
    source = Source("f.op", PROGRAMS[0].read_text())
    file, _ = parse(source)
    for item in file.items:
        if isinstance(item, t.Definition):
            assert item.name.span.text == item.name.text
            assert item.span.text.startswith(item.keyword)
            assert item.span.text.endswith("}")


def test_imports_name_a_module_a_file_or_their_alias():
    one, two, three, four = items(
        'from std.x import A, B,\nimport a.b as c\nimport "m.op"\nfrom "d/m.op" import A'
    )
    assert [x.text for x in one.path] == ["std", "x"]
    assert [x.text for x in one.names] == ["A", "B"]
    assert one.source_span.text == "std.x"
    assert (two.alias.text, two.names, two.file) == ("c", (), None)
    assert (three.file, three.path, three.alias) == ("m.op", (), None)
    assert (four.file, four.source_span.text) == ("d/m.op", '"d/m.op"')


def test_a_constant_has_a_value_and_a_doc():
    (made,) = items('const A = 3 "three"')
    assert (made.name.text, made.value.value, made.doc.text) == ("A", 3, "three")


def test_a_text_alone_is_the_value_of_a_constant_and_not_its_doc():
    (made,) = items('const A = "three"')
    assert (made.value.value, made.doc) == ("three", None)


def test_an_empty_block_has_no_statements():
    (made,) = items('block A "doc" { }')
    assert (made.keyword, made.body, made.doc.text) == ("block", (), "doc")


def test_a_domain_has_a_kind_a_value_or_both():
    kind, both = statement("domain D : grid(x: 0..1)"), statement('domain D : grid = E / 2 "d"')
    plain = statement("domain D = grid(x)")
    assert (kind.kind.name.text, kind.kind.args[0].sign, kind.value) == ("grid", ":", None)
    assert (both.kind.args, text_of(both.value), both.doc.text) == ((), "E / 2", "d")
    assert (plain.kind, plain.value.name) == (None, "grid")


def test_a_dimension_may_be_bound():
    assert statement("dim c").value is None
    assert text_of(statement("dim out = 2 * c").value) == "2 * c"


def test_a_parameter_has_alternatives():
    made = statement("param f : dense | list[int | float, b] = dense")
    assert [x.name.text for x in made.type] == ["dense", "list"]
    assert [[y.name.text for y in x] for x in made.type[1].args] == [["int", "float"], ["b"]]


def test_the_type_of_an_input_has_a_domain_and_channels():
    made = statement('input a : D / 2 -> R^(2 * c) "doc"').type
    assert (text_of(made.domain), text_of(made.codomain.channels)) == ("D / 2", "2 * c")
    assert made.span.text == "D / 2 -> R^(2 * c)"


@pytest.mark.parametrize(
    ("text", "channels", "names"),
    [("R", None, None), ("R^3", "3", None), ("C^c", "c", None), ("R^{a, b,}", None, ["a", "b"])],
)
def test_channels_are_a_number_a_name_a_list_or_nothing(text, channels, names):
    made = statement(f"output u : {text}").type
    assert made.domain is None
    found = made.codomain
    assert (found.channels and text_of(found.channels)) == channels
    assert (found.names and [x.text for x in found.names]) == names


def test_requirements_and_feedback_are_statements():
    made = statement('require c % h == 0 "evenly"')
    assert (text_of(made.test), made.doc.text) == ("c % h == 0", "evenly")
    made = statement("feedback y -> x")
    assert (made.output.text, made.input.text) == ("y", "x")


def test_a_binding_has_one_name_several_or_a_type():
    assert [x.text for x in statement("u, v = f(a)").names] == ["u", "v"]
    made = statement("u : D -> R^1 = f(a)")
    assert made.type.span.text == "D -> R^1"


def test_a_train_block_is_a_tree_of_settings():
    (made,) = items('train M "t" { loss = h1 optimizer adamw { lr = 1e-3 a { b = 1 } } }')
    loss, block = made.body
    assert (loss.name.text, loss.value.text) == ("loss", "h1")
    assert (block.name.text, block.kind.text) == ("optimizer", "adamw")
    assert (block.body[0].value.value, block.body[1].kind) == (1e-3, None)


def test_a_chain_is_flat():
    for text in ("a |> f() |> g(x)", "(a |> f()) |> g(x)"):
        made = value(text)
        assert (made.head.text, [x.name for x in made.stages]) == ("a", ["f", "g"])


def test_a_repeat_has_a_count_an_index_and_a_body():
    made = value("a |> repeat 2 * n as i shared { f() |> residual { g() } }").stages[0]
    assert (text_of(made.count), made.index.text, made.shared) == ("2 * n", "i", True)
    assert made.head.text == "repeat 2 * n as i shared"
    call, residual = made.body.stages
    assert (call.name, residual.body.stages[0].name) == ("f", "g")
    assert residual.head.text == "residual"


def test_arguments_are_named_axes_or_plain():
    args = value("f(v, modes = 16, x: 0..1, a |> g(),)").args
    assert [(x.name and x.name.text, x.sign) for x in args] == [
        (None, ""), ("modes", "="), ("x", ":"), (None, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a + b * c - d", "(a + (b * c)) - d"),
        ("a - b - c", "(a - b) - c"),
        ("-a * b", "(-a) * b"),
        ("not a == b and c or d", "((not (a == b)) and c) or d"),
        ("0..n + 1", "0..(n + 1)"),
        ("if a then b else if c then d else e", "if a then b else (if c then d else e)"),
        ("a.b.c[0].d", "((a.b).c[0]).d"),
        ("-f(x)[1]", "-(f(x)[1])"),
    ],
)
def test_operators_bind_as_in_mathematics(text, printed):
    def bare(node):
        if is_dataclass(node):
            kept = [x.name for x in fields(node) if x.type not in ("Span", "Source")]
            return (type(node), *(bare(getattr(node, x)) for x in kept))
        return tuple(map(bare, node)) if isinstance(node, tuple) else node

    assert bare(value(text)) == bare(value(printed))


def test_a_call_has_the_path_of_its_name():
    made = value("std.f(a)")
    assert (made.name, made.head.text, made.span.text) == ("std.f", "std.f", "std.f(a)")


def test_what_is_no_name_cannot_be_called():
    with pytest.raises(OpError):
        value("f(x)(y)")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("64", 64), ("0.5", 0.5), ("1e-3", 1e-3), ("2E+2", 200.0), ("true", True), ("false", False),
        (r'"a \"b\" \\ \n\t"', 'a "b" \\ \n\t'), ('""', ""),
    ],
)  # fmt: skip
def test_a_literal_is_its_value(text, made):
    found = value(text).value
    assert (found, type(found)) == (made, type(made))


def test_sequences_keep_their_brackets():
    one, many, none = value("(a,)"), value("[1, 2,]"), value("[]")
    assert (one.bracket, len(one.items)) == ("(", 1)
    assert (many.bracket, len(many.items)) == ("[", 2)
    assert none.items == ()


def test_brackets_around_one_value_are_not_kept():
    made = value("(a)")
    assert isinstance(made, t.Name)
    assert isinstance(value("_"), t.Hole)


def test_a_long_doc_keeps_its_lines_whatever_the_line_ends():
    for end in ("\n", "\r\n"):
        (made,) = items(f'block A """one{end}  "two" \\n""" {{ }}')
        assert made.doc.text == 'one\n  "two" \\n'


def test_offsets_are_right_behind_a_byte_order_mark():
    source = Source("f.op", "\ufeffedition 2026\nconst A = 1")
    file, faults = parse(source)
    assert not faults
    assert file.items[0].name.span == Span(source, 20, 21)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda x: x.stem)
def test_the_scanner_sees_the_tokens_of_the_grammar(path):
    text = path.read_text()
    kept = [x.text for x in pieces(text) if x.kind != "comment"]
    assert kept == [x.text for x in machine().tokens(text)][:-1]


def test_an_equation_has_arguments_of_which_some_have_values():
    (made,) = items('equation burgers(u, nu = 0.1,) = dt(u) - nu * laplace(u) "in one dimension"')
    assert isinstance(made, t.Equation)
    assert made.name.text == "burgers"
    assert [(x.name.text, x.value and x.value.value) for x in made.args] == [
        ("u", None),
        ("nu", 0.1),
    ]
    assert text_of(made.value) == "dt(u) - nu * laplace(u)"
    assert made.doc.text == "in one dimension"
    assert made.span.text.startswith("equation burgers(")
