"""The messages of the language's design, sign by sign, and the corners of the layout."""

import re
from pathlib import Path

import pytest

from opdsl.diagnostics import Diagnostic, Help, Label, OpError, Source, fault
from opdsl.diagnostics.carets import show

GOLDEN = Path(__file__).parents[2] / "golden" / "messages"

# the labels of each message: line, the words that are marked, the text beside them
LABELS = {
    1: [(8, "int", "a type follows a colon")],
    2: [(11, "}", "expected `}` after this"), (6, "{", "opened here")],
    3: [(10, "FourierLayr", "not found")],
    4: [(10, "mode", "unknown parameter")],
    5: [(11, "h", "`h` is bound again here"), (10, "h", "first bound here")],
    6: [
        (10, "FourierLayer(modes = 16)", "needs a regular grid, got `P -> R^64`"),
        (7, "points(3, geometry = per_sample)", "`P` is points"),
    ],
    7: [
        (10, "spectral_conv(modes = 20)", "needs a regular grid, got `S -> R^64`"),
        (7, "sphere(lat, lon, sampling = gauss_legendre, min = (64, 128))", "`S` is a sphere"),
    ],
    8: [
        (12, "+", "channel counts differ"),
        (12, "h", "this is `D -> R^64`"),
        (12, "g", "this is `D -> R^128`"),
    ],
    9: [
        (13, "concat", "all parts must live on the same grid"),
        (13, "e2", "`D/4 -> R^128`"),
        (13, "e1", "`D/2 -> R^64`"),
    ],
    10: [
        (10, "FourierLayer(modes = 32)", "keeping |k| <= 32 on `D` needs at least 65 points"),
        (7, "min = 16", "but `D` may have as few as 16"),
        (
            -15,
            "spectral_conv(v, modes = modes, out = out, to = to, factor = factor, rank = rank)",
            "required by this operation",
        ),
    ],
    11: [
        (11, "flatten()", "turns every sample point into a channel"),
        (7, "points(1)", "this domain is resolution-agnostic"),
    ],
    12: [(10, "h", "`h` needs `k`"), (11, "k", "`k` needs `h`")],
    13: [(11, "k", "no path leads from here to an output")],
    14: [
        (9, "D -> R^{ux, uy, p}", "declared `D -> R^{ux, uy, p}`"),
        (
            10,
            "w = a |> Lift(out = 64) |> FourierLayer(modes = 16) |> Project(out = 1)",
            "this is `D -> R^1`",
        ),
    ],
    15: [(20, "Heads()", ""), (12, "c % heads == 0", "required here")],
    16: [
        (12, "residual", "enters as `D -> R^32`"),
        (12, "FourierLayer(out = 48, modes = 16)", "leaves as `D -> R^48`"),
    ],
    17: [(9, "pressure", "declared here, but no node has this name")],
    18: [(1, "widht", "unknown parameter")],
    19: [(17, "modes = 12", "`modes` was 16 in git:main")],
}


def sources(text: str) -> list[Source]:
    """The files of a message: its lines where their numbers say, nothing between them."""
    found = []
    parts = re.split(r"^ *(?:-->|:::) (.+):\d+:\d+$", text, flags=re.MULTILINE)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        lines = {int(n): x for n, x in re.findall(r"^ *(\d+) \| (.*)$", body, re.MULTILINE)}
        rows = [lines.get(i + 1, "") for i in range(max(lines))]
        found.append(Source(name, "\n".join(rows) + "\n"))
    return found


def label(files: list[Source], line: int, words: str, text: str) -> Label:
    """A negative line stands in the second file."""
    source = files[line < 0]
    begin = sum(len(x) + 1 for x in source.text.split("\n")[: abs(line) - 1])
    match = re.compile(rf"(?<!\w){re.escape(words)}(?!\w)").search(source.text, begin)
    return Label(source.span(*match.span()), text)


def remarks(text: str, word: str) -> list[str]:
    lines = re.findall(rf"^ *= {word}: (.*(?:\n {{8,}}[^|\n]*)*)", text, re.MULTILINE)
    return [re.sub(r"\n +", "\n", x) for x in lines]


@pytest.mark.parametrize("number", LABELS)
def test_a_message_of_the_design_is_rendered_sign_by_sign(number):
    text = (GOLDEN / f"{number:02}.txt").read_text().rstrip("\n")
    severity, code, message = re.match(r"(\w+)\[(\w+)\]: (.*)", text).groups()
    files = sources(text)
    made = Diagnostic(
        code,
        message,
        tuple(label(files, *x) for x in LABELS[number]),
        tuple(remarks(text, "note")),
        tuple(Help(x) for x in remarks(text, "help")),
        severity,
    )
    assert show(made) == text


def shown(text: str, *labels: tuple[int, int, str], name: str = "f.op", **options) -> list[str]:
    source = Source(name, text)
    marks = tuple(Label(source.span(a, b), x) for a, b, x in labels)
    return show(Diagnostic("OP0101", "wrong", marks), **options).split("\n")


def test_a_diagnostic_without_a_place_names_its_file():
    error = fault("OP0611", "no field", helps=("add it\nor not",), file="d.h5")
    assert show(error.diagnostics[0]).split("\n") == [
        "error[OP0611]: no field",
        "  --> d.h5",
        "   |",
        "   = help: add it",
        "           or not",
    ]


def test_a_diagnostic_without_place_and_file_is_its_message_and_its_help():
    error = fault("OP0640", "nothing can draw", helps=("install it",))
    assert show(error.diagnostics[0]).split("\n") == [
        "error[OP0640]: nothing can draw",
        "   |",
        "   = help: install it",
    ]


def test_the_text_of_an_error_is_the_text_of_all_its_diagnostics():
    one, two = Diagnostic("OP0101", "one"), Diagnostic("OP0102", "two")
    assert str(OpError(one, two)) == "\nerror[OP0101]: one\nerror[OP0102]: two"


def test_a_tab_is_four_columns_wide():
    assert shown("\ta = b", (5, 6, "here"))[3:] == ["1 |     a = b", "  |         ^ here"]


def test_a_carriage_return_is_not_shown():
    assert shown("a = b\r\nc = d\r\n", (4, 7, "x"))[3:] == ["1 | a = b", "  |     ^ x"]


def test_a_byte_order_mark_takes_no_column():
    assert shown("\ufeffa = b", (1, 2, "x"))[3:] == ["1 | a = b", "  | ^ x"]


def test_a_wide_character_takes_two_columns_and_an_accent_none():
    assert shown("# 場 e\u0301 x", (7, 8, "x"))[4] == "  |        ^ x"


def test_a_character_that_steers_a_terminal_is_shown_as_a_sign():
    text = "\n".join(shown("a \x1b[31m \u202e b", (0, 1, "\x07"), name="\x1b.op"))
    assert not set(text) & {"\x1b", "\u202e", "\x07"}


def test_an_empty_span_at_the_end_of_the_file_is_one_caret():
    assert shown("a = b\n", (6, 6, "here"))[3:] == ["2 |", "  | ^ here"]
    assert shown("", (0, 0, "here"))[3:] == ["1 |", "  | ^ here"]


def test_of_a_span_over_several_lines_the_first_is_underlined():
    assert shown("a = f(\n  b)\n", (4, 11, "x"))[3:] == ["1 | a = f(", "  |     ^^ x"]


def test_one_line_between_two_labels_is_shown_and_more_are_left_out():
    assert shown("a\nb\nc\n", (0, 1, ""), (4, 5, ""))[3:] == [
        "1 | a",
        "  | ^",
        "2 | b",
        "3 | c",
        "  | -",
    ]
    assert shown("a\nb\nc\nd\n", (0, 1, ""), (6, 7, ""))[5] == "..."


def test_a_label_inside_another_stays_visible():
    assert shown("f(abc)", (0, 6, "all"), (2, 5, "part"))[3:] == [
        "1 | f(abc)",
        "  | ^^---^",
        "  | | |",
        "  | | part",
        "  | |",
        "  | all",
    ]


def test_two_labels_on_one_place_are_both_said():
    rows = shown("abc", (0, 3, "one"), (0, 3, "two"))
    assert rows[4].startswith("  | ^^^")
    assert [x in "\n".join(rows) for x in ("one", "two")] == [True, True]


def test_a_long_line_is_cut_around_its_label():
    rows = shown("x" * 500 + " here " + "y" * 500, (501, 505, "it"), width=60)
    assert all(len(x) <= 60 for x in rows)
    column = rows[4].index("^")
    assert rows[3][column : column + 4] == "here"
    assert rows[3].startswith("1 | ...")
    assert rows[3].endswith("...")


def test_a_short_line_is_not_cut():
    assert shown("a = b", (0, 1, ""), width=40)[3] == "1 | a = b"


@pytest.mark.parametrize("severity", ["error", "warning"])
def test_colours_change_nothing_but_colours(severity):
    source = Source("f.op", "u = h + g\n")
    labels = (Label(source.span(6, 7), "a"), Label(source.span(4, 5), "b"))
    made = Diagnostic("OP0303", "wrong", labels, ("n",), (Help("h"),), severity)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", show(made, color=True))
    assert plain == show(made)
    assert "\x1b[" in show(made, color=True)
