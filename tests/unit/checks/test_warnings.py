"""Warnings: each where it belongs and nowhere else, and how they are allowed and denied."""

from pathlib import Path

import pytest

from opdsl.checks.instructions import LINTS
from opdsl.cli.explain import page
from opdsl.compiler import check
from opdsl.diagnostics import Source
from opdsl.elaborate import Argument

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
        ("u = a |> conv(out = 2)", "x: 0..1, y: 0..1, fixed = 33", []),
        ("k = spectral_conv(a, modes = 4)\nu = gelu(a)", RING, ["OP0401"]),
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
        (f"u = {UP} |> repeat 2 shared {{ spectral_conv(modes = 9) }}", True),
        (f"u = {UP} |> repeat 2 shared {{ spectral_conv(modes = 9) |> gelu() }}", False),
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
        (program(LINE, before="# op: allow(not-convergent)\n"), []),
        (program("u = conv(\n  a,\n  out = 2,\n)  # op: allow(not-convergent)"), []),
        (program("# op: allow(not-convergent)\nu = a\n  |> gelu()\n  |> conv(out = 2)"), []),
        (
            program("# op: allow(not-convergent)\nh = a\n  |> gelu()\nu = h |> conv(out = 2)"),
            [("warning", "OP0409"), ("warning", "OP0412")],
        ),
        (
            program(f"# op: deny(not-convergent)\n{LINE}", top="# op: allow(not-convergent)\n"),
            [("error", "OP0412"), ("warning", "OP0409")],
        ),
        (program(f"# op: deny(not-convergent)\n{LINE}  # op: allow(not-convergent)"), []),
        (program("u = gelu(a)  # op: allow unused-node"), [("warning", "OP0410")]),
        (program("u = gelu(a)  # op: allow()"), [("warning", "OP0410")]),
        (program("u = gelu(a)  # op: allow(channels)"), [("warning", "OP0410")]),
        (program("u = gelu(a)  # to op: nothing"), []),
        (
            program("u = gelu(a)  # op: allow(unused-node)", top="# op: deny(useless-allow)\n"),
            [("error", "OP0409")],
        ),
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


BLOCK = """edition 2026
block Stencil {
  domain D : grid
  dim c
  input v : D -> R^c
  output w : D -> R^c
  w = v |> conv(out = c)@
}
"""


@pytest.mark.parametrize(
    ("comment", "below", "expected"),
    [
        ("", "", [("layers.op", "OP0412")]),
        ("  # op: allow(not-convergent)", "", []),
        ("", "  # op: allow(not-convergent)", [("m.op", "OP0409"), ("layers.op", "OP0412")]),
    ],
)
def test_a_warning_about_an_imported_file_follows_the_comments_there(
    comment, below, expected, tmp_path
):
    (tmp_path / "layers.op").write_text(BLOCK.replace("@", comment))
    text = program("u = Stencil(a)", before='from "layers.op" import Stencil\n')
    text = text.replace("output u : D -> R^2", f"output u : D -> R^2{below}")
    assert text.split("\n")[6].endswith(f"R^2{below}")  # the line of the warning in the other file
    told = check(Source("m.op", text), folder=tmp_path).diagnostics
    assert [(Path(x.where).name, x.code) for x in told] == expected


def test_a_comment_for_another_model_or_another_parameter_is_not_useless():
    second = program("u = gelu(a)").replace("edition 2026\n", "").replace("model M", "model N")
    both = program(f"{LINE}  # op: allow(not-convergent)") + second
    assert [check(both, model=x).diagnostics for x in "MN"] == [(), ()]
    choice = "param n : int = 3\nu = if n == 3 then conv(a, out = 2) else a"
    text = program(f"{choice}  # op: allow(not-convergent)")
    one = Source("<--set>", "n=1")
    given = {"n": Argument(1, one.span(2, 3), one.span(0, 1))}
    assert check(text).diagnostics == check(text, arguments=given).diagnostics == ()


def test_a_file_of_blocks_gets_warnings_about_its_names():
    text = BLOCK.replace("@", "\n  k = gelu(v)")
    assert codes(text) == ["OP0210", "OP0401"]


def test_a_program_knows_the_levels_of_its_file():
    text = program(LINE, top="# op: allow(not-convergent)\n")
    levels = check(text, levels={"OP0401": "deny", "OP0412": "deny"}).levels
    assert levels.keys() == LINTS.keys()
    assert (levels["not-convergent"], levels["unused-node"], levels["unused-input"]) == (
        "allow",
        "deny",
        "warn",
    )


def test_json_tells_the_level_of_a_warning():
    errors = check(program("u = b")).diagnostics
    warned = check(program(LINE)).diagnostics
    denied = check(program(LINE), levels={"OP0412": "deny"}).diagnostics
    told = [x.to_json() for x in (*errors, *warned, *denied)]
    assert [(x["severity"], x["level"]) for x in told] == [
        ("error", None),
        ("warning", "warn"),
        ("error", "deny"),
    ]
    assert told[1]["slug"] == "not-convergent"


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


# --- every warning can be allowed: on its line, by name and by code, and in the whole file

GIVES = {
    "unused-node": "h = gelu(a)@\nu = a",
    "unused-input": "input b : D -> R^1@\nu = gelu(a)",
    "unused-parameter": "param n : int = 1@\nu = gelu(a)",
    "unused-domain": "dim n = 3@\nu = gelu(a)",
    "unused-import": "from std.pointwise import Lift@\n",
    "unused-constant": "const N = 3@\n",
    "fourier-on-nonperiodic": "u = a |> spectral_conv(modes = 4)@",
    "not-convergent": f"{LINE}@",
    "rank-exceeds-dense": f"{LARGE}@",
    "dead-weights": f"u = {UP} |> spectral_conv(modes = 9)@",
    "equal-tokens": "q = constant(D, out = 2)\nu = cross_attention(q, a, heads = 1)@",
    "lower-order": "u = meet(a, dirichlet) |> spectral_conv(modes = 4, basis = cosine)@",
    "bidirectional-text": 'require 1 < 2 "\u202e"@\nu = gelu(a)',
}
NEED_ENDS = {"fourier-on-nonperiodic", "lower-order"}
ABOUT_COMMENTS = {"useless-allow", "unknown-warning"}


def giving(slug: str, comment: str = "", top: str = "") -> str:
    text = GIVES[slug].replace("@", comment)
    before, body = (
        (text, "u = gelu(a)") if slug in {"unused-import", "unused-constant"} else ("", text)
    )
    return program(body, ENDS if slug in NEED_ENDS else RING, before, top)


def test_every_warning_has_a_program_that_gives_it():
    assert GIVES.keys() | ABOUT_COMMENTS == LINTS.keys()


@pytest.mark.parametrize("slug", GIVES)
def test_every_warning_can_be_allowed_where_it_stands_and_in_the_file(slug):
    code = LINTS[slug]
    assert found(giving(slug)) == [("warning", code)]
    assert found(giving(slug, f"  # op: allow({slug}), it is meant")) == []
    assert found(giving(slug, f"  # op: allow({code})")) == []
    assert found(giving(slug, top=f"# op: allow({slug})\n")) == []
    assert found(giving(slug, f"  # op: deny({slug})")) == [("error", code)]


@pytest.mark.parametrize("slug", GIVES)
def test_every_warning_says_how_it_is_kept_on_purpose(slug):
    (told,) = check(giving(slug)).diagnostics
    assert f"keep it on purpose with `# op: allow({slug})`" in told.helps[-1].text


@pytest.mark.parametrize("slug", LINTS)
def test_every_warning_has_a_page_that_is_found_by_its_name(slug):
    assert page(slug).startswith(f"# {LINTS[slug]}: ")
