"""Each known mistake has its story: code, place and words."""

import pytest

from opdsl.diagnostics import OpError, Source
from opdsl.diagnostics.carets import show
from opdsl.syntax.parser import NESTING, SIZE, parse, parse_expr
from tests.work import calls


def faults(text: str) -> list[str]:
    """`code line:column message` of every diagnostic."""
    _, found = parse(Source("f.op", text))
    return [
        f"{x.code} {x.labels[0].span.line}:{x.labels[0].span.column} {x.message}" for x in found
    ]


def body(text: str) -> str:
    return f"edition 2026\nmodel M {{\n{text}\n}}\n"


IN_A_BODY = {
    "  param width int = 64": "OP0101 3:15 expected `:` before `int`",
    "  input a D -> R^1": "OP0101 3:11 expected `:` before `D`",
    "  u = f(a b)": "OP0101 3:11 expected `,` before `b`",
    "  u = f(a,\n    b\n    modes = 3)": "OP0101 5:5 expected `,` before `modes`",
    "  u = [1 2]": "OP0101 3:10 expected `,` before `2`",
    "  u = f(a\n  v = b": "OP0101 3:8 this `(` is never closed",
    "  u = f(a,\n  v = b": "OP0101 3:8 this `(` is never closed",
    "  u = a |> repeat 4 { f()\n  v = b": "OP0101 3:21 this `{` is never closed",
    "  u = f(a]": "OP0101 3:10 expected `)` before `]`",
    "  u =\n  v = b": "OP0101 3:5 expected a value after `=`",
    "  u =": "OP0101 3:5 expected a value after `=`",
    "  u = f(out = )": "OP0101 3:15 expected a value after `=`",
    "  u = f(out = , b)": "OP0101 3:15 expected a value after `=`",
    "  u = a +\n  output v : D -> R^1": "OP0101 3:9 expected a value after `+`",
    "  u = a |>\n  v = b": "OP0101 3:9 expected a step after `|>`",
    "  u = if a then b\n  v = c": "OP0101 3:7 this `if` has no `else`",
    "  u = a -> Lift(out = 64)": "OP0101 3:9 `->` stands in types only",
    "  u = a |> gelu |> f()": "OP0101 3:12 expected `(` after `gelu`",
    "  u = a |> gelu\n  v = b": "OP0101 3:12 expected `(` after `gelu`",
    "  u = f(x = 'abc')": "OP0102 3:13 unknown character `'`",
    "  require c % h = 0": "OP0101 3:17 `=` does not compare",
    "  u = if a = 3 then 2 else 1": "OP0101 3:12 `=` does not compare",
    "  u := a": "OP0101 3:5 `:=` is not a sign of the language",
    "  u = a ** 2": "OP0101 3:9 `**` is not a sign of expressions",
    "  u = linear(a, out = a^2)": "OP0101 3:24 `^` is not a sign of expressions",
    "  for i in range(3):\n    u = a": "OP0101 3:3 the language has no statement `for`",
    "  return u": "OP0101 3:3 the language has no statement `return`",
    "  domain D = grid(x),\n  dim c": "OP0101 3:21 `,` stands between two statements",
    "  u = a, b": "OP0101 3:8 `,` is not expected here",
    "  inptu a : D -> R^1": "OP0101 3:3 unknown statement `inptu`",
    "  foo a : D -> R^1": "OP0101 3:3 unknown statement `foo`",
    "  u = a;\n  v = b": "OP0102 3:8 unknown character `;`",
    "  u = a$b": "OP0102 3:8 unknown character `$`",
    "  u = a × b": "OP0102 3:9 unknown character `×`",
    "  u = a & b": "OP0102 3:9 unknown character `&`",
    "  u = é": "OP0102 3:7 unknown character `é`",
    "  u = \x00": "OP0102 3:7 unknown character U+0000",
    '  u = "abc\n  v = b': "OP0102 3:7 this text is not closed",
    '  u = """abc\n  v = b': "OP0102 3:7 this text is not closed",
    '  u = f(path = "C:\\data")': "OP0102 3:19 unknown escape `\\d` in a text",
    "  input input : R^1": "OP0106 3:9 `input` is a reserved word",
    "  param true : int": "OP0106 3:9 `true` is a reserved word",
    "  u = model + 1": "OP0106 3:7 `model` is a reserved word",
    "  model = 1": "OP0106 3:3 `model` is a reserved word",
    "  repeat = 1": "OP0106 3:3 `repeat` is a reserved word",
    "  u = residual { f() }": "OP0101 3:7 `residual` is a step of a chain",
    "  u = a < b < c": "OP0101 3:13 a comparison has two sides",
    "  u = 0..1..2": "OP0101 3:11 a range has two ends",
    "  u = 64x": "OP0101 3:9 `x` is not expected here",
    "  u = .5": "OP0101 3:7 expected a value after `=`",
    "  dim": "OP0101 3:3 expected a name after `dim`",
    "  feedback a b": "OP0101 3:14 expected `->` before `b`",
    "  input a : D -> R^": "OP0101 3:19 expected a number of channels after `^`",
    "  param w : int : 3": "OP0101 3:17 `:` is not expected here",
    "  u = 1e999": "OP0105 3:7 this number is too large",
    "  u = " + "9" * 5000: "OP0105 3:7 this number has 5000 digits",
    "  u = " + "a" * 300: "OP0105 3:7 this name has 300 letters",
    "  u = " + "-" * 200 + "a": "OP0105 3:135 this expression is too deep",
    "  u = " + "a + " * 200 + "a": "OP0105 3:7 this expression is too deep",
    "  u = " + "(" * 70 + "a" + ")" * 70: "OP0105 3:70 this program is too deeply nested",
}

WHOLE = {
    "edition 2026\nmodel D {\n  domain D = grid(x)\n\n  u = a\n": (
        "OP0103 5:7 this file ends inside an open block"
    ),
    "edition 2026\nmodel D {\n  u = f(a,\n": "OP0103 3:10 this file ends inside an open bracket",
    "edition 2026\nconst A = 3 +\n": "OP0101 2:13 expected a value after `+`",
    "edition 2026\nblock A {\n  u = a  # c\nmodel B { }\n": "OP0103 4:1 this block is not closed",
    "edition 2026\nmodel M { }\n}\nblock A { }\n": "OP0101 3:1 this `}` closes nothing",
    "edition 2026\ninput a : R^1\nu = a\nmodel M { }\n": (
        "OP0101 2:1 `input` stands outside all blocks"
    ),
    "edition 2026\nu = a\nv = u\n": "OP0101 2:1 `u` stands outside all blocks",
    "edition 2026\nmodle M {\n  u = a\n}\nmodel B { }\n": "OP0101 2:1 unknown statement `modle`",
    "edition 2026\ndef f(x):\n  return x\n": "OP0101 2:1 the language has no statement `def`",
    "edition 2026\nclass A:\n  pass\n": "OP0101 2:1 the language has no statement `class`",
    'edition 2026\nmodel "FNO" { }\n': "OP0101 2:7 a name stands without quotes",
    "edition 2026\nimport Lift from std.x\nmodel M { }\n": (
        "OP0101 2:13 `from` stands behind the imported name"
    ),
    "edition 2026\nfrom std.x import *\n": "OP0101 2:19 names are imported one by one",
    "edition 2026\nblock block { }\n": "OP0106 2:7 `block` is a reserved word",
    "model M { }\n": "OP0104 1:1 this file does not say its edition",
    "": "OP0104 1:1 this file does not say its edition",
    "# only this\n": "OP0104 2:1 this file does not say its edition",
    "edition 2027\nmodel M { }\n": "OP0104 1:9 unknown edition 2027",
    "edition\nmodel M { }\n": "OP0104 1:1 this file does not say its edition",
    'edition "2026"\nmodel M { }\n': "OP0104 1:9 this file does not say its edition",
    "edition 2026\nmodel M { }\nedition 2026\n": "OP0104 3:1 `edition` is not the first statement",
    " " * (SIZE + 1): "OP0105 1:1 this file has 1,048,577 characters",
}


@pytest.mark.parametrize("text", IN_A_BODY, ids=lambda x: x[:30])
def test_a_wrong_statement_gives_one_diagnostic(text):
    assert faults(body(text)) == [IN_A_BODY[text]]


@pytest.mark.parametrize("text", WHOLE, ids=lambda x: x[13:40])
def test_a_wrong_file_gives_one_diagnostic(text):
    assert faults(text) == [WHOLE[text]]


def test_a_missing_colon_is_told_as_in_the_design():
    (found,) = parse(Source("f.op", body("  param width int = 64")))[1]
    assert show(found).split("\n")[1:] == [
        " --> f.op:3:15",
        "  |",
        "3 |   param width int = 64",
        "  |               ^^^ a type follows a colon",
        "  |",
        "  = help: write `param width : int`",
    ]


def test_a_file_that_ends_in_a_block_is_told_as_in_the_design():
    (found,) = parse(Source("f.op", "edition 2026\nmodel M {\n\n\n  u = a\n"))[1]
    assert show(found).split("\n")[2:] == [
        "  |",
        "2 | model M {",
        "  |         - opened here",
        "...",
        "5 |   u = a",
        "  |       ^ expected `}` after this",
    ]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("  param width int = 64", "  param width : int = 64"),
        ("  u = a -> f()", "  u = a |> f()"),
        ("  u := a", "  u = a"),
        ("  require c = 0", "  require c == 0"),
        ("  u = f(a b)", "  u = f(a, b)"),
        ("  u = a;", "  u = a"),
        ("  inptu a : R^1", "  input a : R^1"),
        ("  u = a × b", "  u = a * b"),
    ],
)
def test_the_edit_of_a_help_cures_the_mistake(wrong, right):
    text = body(wrong)
    (found,) = parse(Source("f.op", text))[1]
    cure = found.helps[0]
    cured = text[: cure.span.start] + cure.replacement + text[cure.span.end :]
    assert cured == body(right)
    assert not faults(cured)


def test_the_edition_can_be_added_by_a_tool():
    (found,) = parse(Source("f.op", "# c\nmodel M { }\n"))[1]
    cure = found.helps[0]
    assert (cure.span.start, cure.replacement, cure.applicability) == (
        4,
        "edition 2026\n\n",
        "safe",
    )


def test_brackets_in_texts_and_comments_are_not_nested():
    text = "(" * (NESTING + 1)
    assert not faults(body(f'  u = "{text}"  # {text}'))
    assert not faults(body("  u = " + "(" * 60 + "a" + ")" * 60))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a value"),
        ("# nothing", "expected a value"),
        ("3 +", "expected a value after `+`"),
        ("8 8", "`8` is not expected here"),
        ("a]", "`]` is not expected here"),
        ("f(x", "this text ends inside an open bracket"),
        ("'a'", "unknown character `'`"),
        ("1e999", "this number is too large"),
        ("(" * 65, "this program is too deeply nested"),
    ],
)
def test_a_wrong_value_raises_one_diagnostic(text, message):
    with pytest.raises(OpError) as caught:
        parse_expr(Source("<--set>", text))
    assert [x.message for x in caught.value.diagnostics] == [message]


BOMBS = {
    "brackets": lambda n: "(" * n,
    "signs": lambda n: "- " * n,
    "quotes": lambda n: '"""' + '""a' * n,
    "braces": lambda n: "{" * (n // 100),  # each opens a region of its own
    "lines": lambda n: "=\n" * (n // 10),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_in_work_that_grows_with_its_length(bomb):
    def work(size):
        program = "edition 2026\nconst A = " + bomb(size)
        return calls(lambda: faults(program))

    assert faults("edition 2026\nconst A = " + bomb(10**5))
    assert work(8000) < 8 * work(2000)
