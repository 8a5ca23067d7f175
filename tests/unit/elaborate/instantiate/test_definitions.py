"""Blocks that nobody calls are checked too, once for all sizes."""

import pytest

from opdsl import resources
from opdsl.elaborate.bind.modules import Loader
from opdsl.elaborate.evaluate.budget import Budget
from opdsl.elaborate.evaluate.problems import Problems
from opdsl.elaborate.instantiate.definitions import check_definitions
from opdsl.syntax.parser import parse
from tests.programs import codes, model, only

CALLS_NOTHING = "output u : D -> R^2\nu = gelu(a)"


def block(body: str, *, domain: str = "domain D : any", name: str = "B") -> str:
    """A block with the input v : D -> R^c, the output w : D -> R^out and these statements."""
    lines = [domain, "dim c", "dim out", "input v : D -> R^c", "output w : D -> R^out"]
    return "\n".join([f"block {name} {{", *lines, body, "}"])


def beside(text: str) -> str:
    """A sound model, and a block that it does not call."""
    return model(CALLS_NOTHING, before=text)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("w = linear(v, out = 2 * out)", "OP0303"),
        ("w = linear(v, out = c)", "OP0303"),
        ("w = v + linear(v, out = out)", "OP0303"),
        ("w = linear(v, out = out) |> residual { linear(out = c) }", "OP0303"),
        ("w = lineer(v, out = out)", "OP0201"),
        ("w = linear(v, uot = out)", "OP0207"),
        ("h = linear(w, out = c)\nw = linear(h, out = out)", "OP0302"),
        ("w = linear(v, out = out) |> spectral_conv(modes = 4)", "OP0301"),
        ("w = linear(v, out = c / 0)", "OP0209"),
        ("require 2 < 1\nw = linear(v, out = out)", "OP0320"),
        ("w = linear(v, out = -c)", "OP0208"),
    ],
)
def test_a_fault_that_no_call_can_avoid_is_reported(body, code):
    assert only(beside(block(body))).code == code


def test_the_message_speaks_of_the_dims():
    found = only(beside(block("w = linear(v, out = 2 * c + 1)")))
    assert found.message == "output `w` has out channels but receives 2·c + 1"


@pytest.mark.parametrize(
    "body",
    [
        "w = linear(v, out = out)",
        "w = linear(v, out = 2 * out) |> linear(out = out)",
        "w = concat(linear(v, out = out), v) |> linear(out = int(0.5 * c)) |> linear(out = out)",
        "require out == c\nw = v + gelu(v)",
        "w = norm(v, kind = instance) |> linear(out = out)",
        "require c % 8 == 0\nw = norm(v, kind = group, groups = 8) |> linear(out = out)",
        "param n : int\nw = v |> repeat n { linear(out = c) |> gelu() } |> linear(out = out)",
        "param n : int\nw = linear(v, out = if n > 2 then c else 2 * c) |> linear(out = out)",
        "param act : activation\nw = apply(linear(v, out = out), act)",
    ],
)
def test_what_some_call_can_make_right_is_not_a_fault(body):
    assert "error" not in severities(beside(block(body)))


def severities(text: str) -> set[str]:
    from opdsl.compiler import check

    return {x.severity for x in check(text).diagnostics}


def test_a_block_for_planes_may_count_its_axes():
    body = "w = concat(v, coords(D)) |> spectral_conv(modes = (4, 4), out = out)"
    assert "error" not in severities(beside(block(body, domain="domain D : grid")))


def test_a_fault_in_a_called_block_is_said_once():
    text = block("w = linear(v, out = 2 * out)")
    assert codes(model("output u : D -> R^2\nu = B(a, out = 2)", before=text)) == ["OP0303"]


def test_blocks_of_imported_files_are_checked(tmp_path):
    (tmp_path / "lib.op").write_text(f"edition 2026\n{block('w = linear(v, out = 1)')}\n")
    (tmp_path / "main.op").write_text(
        model(CALLS_NOTHING, before='from "lib.op" import B').replace("edition 2026\n", "", 0)
    )
    from opdsl.compiler import check

    found = check(tmp_path / "main.op").errors
    assert [x.code for x in found] == ["OP0303"]
    assert found[0].labels[0].span.source.name.endswith("lib.op")


@pytest.mark.parametrize("path", sorted(resources.root("library").glob("*.op")), ids=str)
def test_the_library_is_sound_for_all_sizes(path):
    from opdsl.diagnostics import Source

    file, found = parse(Source(path.name, path.read_text(encoding="utf-8"), library=True))
    problems = Problems()
    module = Loader(problems, None).module(file, None)
    assert not found
    assert [x.message for x in check_definitions(module, [], Budget())] == []
