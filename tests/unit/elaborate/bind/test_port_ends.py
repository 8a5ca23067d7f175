"""`ends = ...` of inputs and outputs: reading, printing, files, comparison, and promises."""

import pytest

from opdsl.compiler import check, load
from opdsl.diagnostics import Source
from opdsl.export.diff import compare
from opdsl.export.ir import to_json
from opdsl.export.program import to_program
from opdsl.export.reading import from_json
from opdsl.ir.fingerprint import fingerprint
from opdsl.syntax.parser import parse
from opdsl.syntax.printer import format_text, print_file

PROGRAM = """edition 2026

model M {{
  domain D = grid(x: 0..1, y: 0..1, boundary = {boundary}, min = 16)
  input f : D -> R^2{clause}
  output u : D -> R^2

  u = f |> tanh()
}}
"""
MIXED = "(periodic, dirichlet..neumann)"


def program(clause: str, boundary: str = MIXED) -> str:
    """A program with one input."""
    return PROGRAM.format(clause=clause, boundary=boundary)


def errors(text: str) -> list[str]:
    """Code and message of each error."""
    return [f"{x.code} {x.message}" for x in check(Source("<test>", text)).errors]


@pytest.mark.parametrize(
    ("clause", "boundary", "ends"),
    [
        ("", "dirichlet", None),
        (", ends = odd", "dirichlet", (("odd", "odd"), ("odd", "odd"))),
        (", ends = odd..none", "none", (("odd", "none"), ("odd", "none"))),
        (", ends = (odd, even..none)", "none", (("odd", "odd"), ("even", "none"))),
        (", ends = boundary", MIXED, (None, ("dirichlet", "neumann"))),
        (", ends = odd", MIXED, (None, ("odd", "odd"))),
        (", ends = (periodic, boundary)", MIXED, (None, ("dirichlet", "neumann"))),
        (', ends = neumann "a doc string"', "none", (("neumann",) * 2, ("neumann",) * 2)),
    ],
)
def test_ends_are_read_for_each_axis(clause, boundary, ends):
    graph = load(program(clause, boundary))
    assert graph.inputs[0].ends == ends
    assert graph.inputs[0].doc == ("a doc string" if "doc" in clause else None)


@pytest.mark.parametrize(
    ("clause", "boundary", "message"),
    [
        (", ends = robin", "none", "OP0208 `ends` cannot be `robin`"),
        (", ends = odd..robin", "none", "OP0208 `ends` cannot be `robin`"),
        (", ends = 3", "none", "OP0208 `ends` cannot be `3`"),
        (", ends = (odd, odd, odd)", "none", "OP0208 `ends` has 3 values for 2 axes"),
        (", ends = odd", "periodic", "OP0321 a function on `D` has no ends"),
        (", ends = (odd, odd)", MIXED, "OP0321 the axis `x` is periodic and has no ends"),
        (", meets = odd", "none", "OP0207 an input or output has no option `meets`"),
    ],
)
def test_ends_that_make_no_sense_are_refused(clause, boundary, message):
    assert errors(program(clause, boundary)) == [message]


def test_vectors_and_points_have_no_ends():
    text = program("").replace("input f", "input c : R^2, ends = odd\n  input f")
    assert errors(text) == ["OP0321 a vector has no ends"]


def test_a_block_declares_no_ends():
    block = """
block B {
  domain D : grid
  dim c
  input v : D -> R^c, ends = odd
  output w : D -> R^c

  w = v
}
"""
    found = errors(program("").replace("\nmodel", f"{block}\nmodel", 1))
    assert found == ["OP0107 inputs and outputs of a block declare no ends"]


@pytest.mark.parametrize("clause", [", ends = odd", ', ends = (periodic, odd..even) "doc"'])
def test_programs_with_ends_are_printed_and_formatted(clause):
    text = program(clause)
    file, faults = parse(Source("<test>", text))
    assert not faults
    assert print_file(file) == text
    assert format_text(text.replace(", ends =", " ,ends="), "<test>") == text


@pytest.mark.parametrize("clause", ["", ", ends = odd..even", ", ends = (periodic, boundary)"])
def test_ends_survive_flat_programs_and_graph_files(clause):
    graph = load(program(clause))
    again = load(to_program(graph))
    read = from_json(to_json(graph))
    assert again.inputs[0].ends == read.inputs[0].ends == graph.inputs[0].ends
    assert ("ends" in to_json(graph)["inputs"][0]) == bool(clause)


@pytest.mark.parametrize("ends", [[None, None], [["odd", "odd"], None], [None]])
def test_a_graph_file_with_other_axes_in_its_ends_is_refused(ends):
    from opdsl.diagnostics import OpError

    data = to_json(load(program(", ends = odd")))
    data["inputs"][0]["ends"] = ends
    with pytest.raises(OpError, match="the ends of `f` are not those of `D`"):
        from_json(data)


def test_ends_are_a_promise_and_no_part_of_the_function():
    free, odd = load(program("")), load(program(", ends = odd"))
    assert fingerprint(free) == fingerprint(odd)
    changes = compare(free, odd)
    assert changes.same
    assert [x.details for x in changes.ports] == [("D -> R^2 => D -> R^2, ends = odd",)]


# --- promises of outputs --------------------------------------------------------------------------

PROMISE = """edition 2026

model M {{
  domain D = grid(x: 0..1, boundary = dirichlet, min = 16)
  input f : D -> R^2, ends = {given}
  input g : D -> R^2
  output u : D -> R^2, ends = {promised}

  u = {chain}
}}
"""


@pytest.mark.parametrize(
    ("given", "chain", "promised", "message", "label"),
    [
        ("odd", "tanh(f)", "odd", None, ""),
        ("odd", "gelu(f)", "dirichlet", None, ""),
        ("odd", "meet(linear(f, out = 2))", "boundary", None, ""),
        ("even", "f |> mlp(widths = [4, 2])", "neumann", None, ""),
        ("odd", "f * f", "even", None, ""),
        (
            "odd",
            "gelu(f)",
            "odd",
            "it does not follow that output `u` is odd at the lower end of x",
            "the result vanishes here; its input is odd",
        ),
        (
            "odd..even",
            "sigmoid(tanh(f))",
            "dirichlet..even",
            "it does not follow that output `u` vanishes at the lower end of x",
            "the result is free here; its input vanishes",
        ),
        (
            "even..odd",
            "tanh(linear(f, out = 2))",
            "even..odd",
            "it does not follow that output `u` is odd at the upper end of x",
            "the result is free here; its input is odd",
        ),
    ],
)
def test_the_promise_of_an_output_has_to_follow(given, chain, promised, message, label):
    text = PROMISE.format(given=given, chain=chain, promised=promised)
    found = check(Source("<test>", text)).errors
    assert [x.message for x in found] == ([message] if message else [])
    if label:
        assert found[0].code == "OP0324"
        assert found[0].labels[0].text == label


def test_the_message_names_the_input_about_which_nothing_is_known():
    text = PROMISE.format(given="odd", chain="tanh(f + g)", promised="odd")
    (found,) = check(Source("<test>", text)).errors
    assert found.notes == ("nothing is known about the input `g` there",)


def test_a_constant_is_blamed_with_the_cure():
    text = PROMISE.format(given="odd", chain="tanh(linear(f, out = 2))", promised="odd")
    (found,) = check(Source("<test>", text)).errors
    assert found.helps[0].text == "leave out the constant: `bias = false`"
    assert text[found.labels[0].span.start : found.labels[0].span.end] == "linear(f, out = 2)"
