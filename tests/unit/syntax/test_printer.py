"""The layout of programs: golden files, and what each rule of it does."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from opdsl.diagnostics import OpError, Source
from opdsl.syntax import tree as t
from opdsl.syntax.parser import parse, parse_expr
from opdsl.syntax.printer import format_text, print_file
from opdsl.syntax.unparse import expr, quoted

TESTS = Path(__file__).parents[2]
GOLDEN = sorted((TESTS / "golden" / "fmt").glob("*.op"))
PROGRAMS = sorted((TESTS / "data" / "language").glob("*.op"))
PLAIN = [x for x in PROGRAMS if "#" not in x.read_text()]


def bare(node):
    if is_dataclass(node):
        kept = [x.name for x in fields(node) if x.type not in ("Span", "Source")]
        return (type(node), *(bare(getattr(node, x)) for x in kept))
    return tuple(map(bare, node)) if isinstance(node, tuple) else node


def tree(text):
    file, faults = parse(Source("f.op", text))
    assert not faults
    return file


def laid_out(body):
    text = format_text(f"edition 2026\nmodel M {{\n{body}\n}}\n", "f.op")
    return text.removeprefix("edition 2026\n\nmodel M {\n").removesuffix("}\n")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda x: x.stem)
def test_a_golden_file_is_laid_out_as_agreed_and_stays_so(path):
    golden = path.with_suffix(".golden").read_text()
    assert format_text(path.read_text(), path.name) == golden
    assert format_text(golden, path.name) == golden
    assert bare(tree(golden)) == bare(tree(path.read_text()))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda x: x.stem)
def test_an_example_of_the_design_is_laid_out_already(path):
    text = path.read_text()
    assert format_text(text, path.name) == text


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda x: x.stem)
def test_the_printed_tree_of_an_example_reads_as_itself(path):
    file = tree(path.read_text())
    printed = print_file(file)
    assert bare(tree(printed)) == bare(file)
    assert format_text(printed, "f.op") == printed


@pytest.mark.parametrize("path", PLAIN, ids=lambda x: x.stem)
def test_a_comment_may_stand_anywhere(path):
    words = path.read_text().split()
    strings = [i for i, x in enumerate(words) if x.count('"') % 2]
    inside = {i for a, b in zip(strings[::2], strings[1::2], strict=True) for i in range(a, b)}
    for i in range(0, len(words), 3):
        if i in inside:
            continue
        text = " ".join(words[: i + 1]) + " # here é\n" + " ".join(words[i + 1 :]) + "\n"
        once = format_text(text, "f.op")
        assert once.count("# here é\n") == 1
        assert format_text(once, "f.op") == once
        assert bare(tree(once)) == bare(tree(text))


def test_a_file_with_syntax_errors_is_not_laid_out():
    with pytest.raises(OpError) as caught:
        format_text("edition 2026\nmodel M {\n  u = = a\n  v = (\n}\n", "f.op")
    assert [x.code for x in caught.value.diagnostics] == ["OP0101", "OP0101"]


def test_a_file_that_does_not_type_check_is_laid_out():
    assert laid_out("u=nothing(of=this)+u") == "  u = nothing(of = this) + u\n"


def test_line_ends_of_windows_and_byte_order_marks_go():
    text = '\ufeffedition 2026\r\n\r\nconst A = 1 """a\r\nb"""\r\n'
    assert format_text(text, "f.op") == 'edition 2026\n\nconst A = 1 """a\nb"""\n'


def test_a_script_line_stays_first():
    text = "#!/usr/bin/env opdsl\nedition 2026\n"
    assert format_text(text, "f.op") == text


def test_a_file_ends_with_one_line_end():
    for end in ("", "\n", "\n\n\n"):
        assert format_text("edition 2026" + end, "f.op") == "edition 2026\n"


def test_one_blank_line_between_statements_stays():
    assert laid_out("  dim a\n\n\n\n  dim b\n  dim c\n") == "  dim a\n\n  dim b\n  dim c\n"


def test_a_chain_on_one_line_stays_there_if_it_fits():
    assert laid_out("  u = a|>f()|>g()") == "  u = a |> f() |> g()\n"


def test_a_chain_on_several_lines_has_a_line_for_each_step():
    assert laid_out("  u = a |> f()\n |> g()") == "  u = a\n    |> f()\n    |> g()\n"


def test_no_line_is_longer_than_it_must_be():
    chain = " |> ".join(f"step(a = {i})" for i in range(12))
    assert max(map(len, laid_out(f"  u = a |> {chain}").split("\n"))) <= 88


def test_settings_on_one_line_stay_there_if_they_fit():
    text = "edition 2026\n\ntrain M {\n  a b { c = 1 d = 2 }\n  e {\n    f = 3\n  }\n}\n"
    assert format_text(text, "f.op") == text


SPAN = Source("f.op", "").span(0, 0)


def name(text):
    return t.Name(text, SPAN)


def literal(value):
    return t.Literal(value, SPAN)


def binary(sign, left, right):
    return t.Binary(sign, left, right, SPAN, SPAN)


PIPE = t.Pipe(name("a"), (t.Call((t.Ident("f", SPAN),), (), SPAN),), SPAN)
CONDITION = t.If(name("a"), name("b"), name("c"), SPAN)


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (binary("*", binary("+", name("a"), name("b")), name("c")), "(a + b) * c"),
        (binary("-", name("a"), binary("-", name("b"), name("c"))), "a - (b - c)"),
        (binary("-", binary("-", name("a"), name("b")), name("c")), "a - b - c"),
        (binary("<", binary("<", name("a"), name("b")), name("c")), "(a < b) < c"),
        (binary("..", literal(0), binary("+", name("n"), literal(1))), "0..n + 1"),
        (binary("+", name("a"), PIPE), "a + (a |> f())"),
        (binary("+", CONDITION, literal(1)), "(if a then b else c) + 1"),
        (t.Unary("-", binary("+", name("a"), name("b")), SPAN, SPAN), "-(a + b)"),
        (t.Unary("not", binary("and", name("a"), name("b")), SPAN, SPAN), "not (a and b)"),
        (t.Member(PIPE, t.Ident("x", SPAN), SPAN), "(a |> f()).x"),
        (t.Index(literal(-1), literal(0), SPAN), "(-1)[0]"),
        (t.Sequence("(", (PIPE,), SPAN), "(a |> f(),)"),
        (literal(1e-05), "1e-05"),
        (literal(True), "true"),
        (t.Pipe(CONDITION, PIPE.stages, SPAN), "if a then b else c |> f()"),
    ],
)
def test_brackets_stand_where_the_grammar_needs_them(node, text):
    assert expr(node) == text
    assert expr(parse_expr(Source("<v>", text))) == text


def test_a_text_is_quoted_so_that_it_reads_as_itself():
    text = 'a "b" \\ \n\t é \\n'
    assert parse_expr(Source("<v>", quoted(text))).value == text


def test_a_doc_of_several_lines_keeps_them():
    file = tree('edition 2026\nconst A = 1 """a\nb"""\n')
    assert '"""a\nb"""' in print_file(file)
    odd = replace(file.items[0], doc=t.Doc('a\n"b"', SPAN))
    assert r'"a\n\"b\""' in print_file(replace(file, items=(odd,)))


def test_what_is_computed_stands_apart_from_declarations_in_a_printed_tree():
    file = tree("edition 2026\nblock B { dim c u = a v = u }")
    assert print_file(file).endswith("  dim c\n\n  u = a\n  v = u\n}\n")


def test_an_equation_is_laid_out_and_printed():
    text = "edition 2026\nequation darcy(a,u,f=1)=-div(a*grad(u))-f  'x'\n".replace("'", '"')
    laid = 'edition 2026\n\nequation darcy(a, u, f = 1) = -div(a * grad(u)) - f "x"\n'
    assert format_text(text, "f.op") == laid
    assert print_file(tree(text)) == laid
