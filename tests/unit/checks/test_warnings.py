"""Warnings: each where it belongs and nowhere else, and how they are allowed and denied."""

import pytest

from opdsl.checks.levels import LINTS
from opdsl.compiler import check

RING = "x: 0..1, y: 0..1, boundary = periodic, min = 33"
ENDS = "x: 0..1, y: 0..1, boundary = dirichlet, min = 33"


def program(body: str, domain: str = RING, before: str = "", top: str = "") -> str:
    return (
        f"{top}edition 2026\n{before}\nmodel M {{\n  domain D = grid({domain})\n"
        f"  input a : D -> R^2\n  output u : D -> R^2\n{body}\n}}\n"
    )


def found(text: str, **levels: str) -> list[tuple[str, str]]:
    wished = {LINTS[k.replace("_", "-")]: v for k, v in levels.items()}
    return [(x.severity, x.code) for x in check(text, levels=wished).diagnostics]


def codes(text: str) -> list[str]:
    return [code for _, code in found(text)]


PADDED = """domain E = extend(D, fraction = 0.5)
u = a |> pad(to = E) |> spectral_conv(modes = 4) |> crop(to = D)"""
LARGE = "u = a |> spectral_conv(modes = 4, factor = tucker, rank = (2, 2, 9, 5))"


@pytest.mark.parametrize(
    ("body", "domain", "expected"),
    [
        ("u = a |> spectral_conv(modes = 4)", ENDS, ["OP0411"]),
        ("u = a |> spectral_conv(modes = 4)", RING, []),
        ("u = a |> repeat 3 { spectral_conv(modes = 4) |> gelu() }", ENDS, ["OP0411"]),
        (PADDED, ENDS, []),
        ("u = a |> linear(out = 2)", ENDS, []),
        ("u = a |> conv(out = 2)", ENDS, ["OP0412"]),
        ("u = a |> conv(out = 2) |> conv(out = 2)", ENDS, ["OP0412"]),
        (
            "u = a |> spectral_conv(modes = 4, factor = tucker, rank = (2, 2, 9, 5))",
            RING,
            ["OP0413"],
        ),
        ("u = a |> spectral_conv(modes = 4, factor = tucker, rank = 0.3)", RING, []),
    ],
)
def test_a_warning_is_given_where_it_belongs(body, domain, expected):
    assert codes(program(body, domain)) == expected


BOTH = """h = a |> spectral_conv(modes = 9)
u = h + (h |> resample(to = D / 2) |> resample(to = D))"""
UP = "a |> resample(to = D / 2) |> resample(to = D)"  # |k| <= 8 of 16 points is all that is left


@pytest.mark.parametrize(
    ("body", "dead"),
    [
        (f"u = {UP} |> spectral_conv(modes = 9)", True),
        (f"u = {UP} |> linear(out = 2) |> spectral_conv(modes = 9)", True),
        (f"u = {UP} |> spectral_conv(modes = 8)", False),
        (f"u = {UP} |> gelu() |> spectral_conv(modes = 9)", False),
        (f"h = {UP}\nu = h + a |> spectral_conv(modes = 9)", False),
        ("u = a |> spectral_conv(modes = 9) |> resample(to = D / 2) |> resample(to = D)", True),
        (BOTH, False),
        ("u = a |> spectral_conv(modes = 3) |> spectral_conv(modes = 4)", True),
        ("u = a |> spectral_conv(modes = 4) |> spectral_conv(modes = 3)", True),
        ("u = a |> spectral_conv(modes = 4) |> gelu() |> spectral_conv(modes = 3)", False),
        ("u = a |> spectral_conv(modes = (3, 4)) |> spectral_conv(modes = (4, 4))", True),
        ("u = a * spectral_conv(a, modes = 3) |> spectral_conv(modes = 4)", False),
    ],
)
def test_dead_weights_are_those_without_a_gradient(body, dead):
    """The oracle is the gradient of the module itself, at the smallest promised resolution."""
    import torch

    import opdsl

    text = program(body)
    assert ("OP0414" in codes(text)) == dead
    torch.manual_seed(0)
    net = opdsl.compile(text).double()
    net(torch.randn(1, 2, 33, 33, dtype=torch.float64)).square().sum().backward()
    weights = [p for p in net.parameters() if p.ndim > 2]
    silent = [float((p.grad.abs().amax((-3, -2, -1)) < 1e-12).double().mean()) for p in weights]
    assert weights
    assert (max(silent) > 0) == dead


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("from std.pointwise import Lift\n", ["OP0405"]),
        ("import std.pointwise as p\n", ["OP0405"]),
        ("import std.pointwise as p\n# op: allow(unused-import)\n", ["OP0405", "OP0409"]),
        ("from std.pointwise import Lift  # op: allow(unused-import)\n", []),
        ("# op: allow(unused-import)\nfrom std.pointwise import Lift\n", []),
    ],
)
def test_an_import_that_nothing_uses(before, expected):
    assert codes(program("u = gelu(a)", before=before)) == expected


def test_a_used_import_is_no_warning():
    before = "import std.pointwise as p\nfrom std.pointwise import Lift\n"
    assert codes(program("u = a |> Lift(out = 2) |> p.Lift(out = 2)", before=before)) == []


# --- levels

LINE = "u = a |> conv(out = 2)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (program(f"{LINE}  # op: allow(not-convergent)"), []),
        (program(f"{LINE}  # op: allow(OP0412)"), []),
        (program(f"  # op: allow(not-convergent)\n{LINE}"), []),
        (program(LINE, top="# op: allow(not-convergent)\n"), []),
        (program(LINE, top="# a head\n# op: allow(not-convergent)\n"), []),
        (program(f"{LINE}  # op: deny(not-convergent)"), [("error", "OP0412")]),
        (
            program(f"{LINE}  # op: warn(not-convergent)", top="# op: allow(not-convergent)\n"),
            [("warning", "OP0412"), ("warning", "OP0409")],
        ),
        (
            program("h = gelu(a)  # op: allow(not-convergent)\nu = conv(h, out = 2)"),
            [("warning", "OP0409"), ("warning", "OP0412")],
        ),
        (
            program(f"{LINE}  # op: allow(not-convergnt)"),
            [("warning", "OP0412"), ("warning", "OP0410")],
        ),
        (
            program(f"{LINE}  # op: alow(not-convergent)"),
            [("warning", "OP0412"), ("warning", "OP0410")],
        ),
        (program(LINE, top="# op: allow(not-convergent, useless-allow, unused-node)\n"), []),
    ],
)
def test_a_comment_sets_the_level(text, expected):
    assert sorted(found(text)) == sorted(expected)


def test_an_option_sets_the_level_and_a_comment_goes_before_it():
    assert found(program(LINE), not_convergent="allow") == []
    assert found(program(LINE), not_convergent="deny") == [("error", "OP0412")]
    quiet = program(f"{LINE}  # op: allow(not-convergent)")
    assert found(quiet, not_convergent="deny") == []


def test_a_denied_warning_leaves_no_graph():
    checked = check(program(f"{LINE}  # op: deny(not-convergent)"))
    assert checked.graph is None
    assert [x.code for x in checked.errors] == ["OP0412"]


def test_errors_cannot_be_allowed():
    text = program("u = a |> linear(out = 3)  # op: allow(OP0303)")
    assert found(text) == [("error", "OP0303")]


def test_an_unknown_name_is_corrected():
    text = program(f"{LINE}  # op: allow(not-convergnt)")
    told = [x for x in check(text).diagnostics if x.code == "OP0410"]
    assert told[0].helps[0].text == "did you mean `not-convergent`?"


def test_a_warning_in_a_library_block_is_given_at_the_call():
    text = program("u = a |> FourierLayer(modes = 4)", ENDS, "from std.fourier import FourierLayer")
    found_ = check(text).diagnostics
    assert [x.code for x in found_] == ["OP0411"]
    assert found_[0].labels[0].span.text == "FourierLayer(modes = 4)"


@pytest.mark.parametrize("slug", LINTS)
def test_every_warning_can_be_named(slug):
    text = program(f"u = gelu(a)  # op: allow({slug})")
    assert "OP0410" not in codes(text)
