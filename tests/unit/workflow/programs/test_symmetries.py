"""Declarations of symmetries: what they compile to, and every reason to refuse one."""

from pathlib import Path

import pytest

from opdsl.compiler import check
from opdsl.diagnostics import OpError, Source
from opdsl.syntax.printer import format_text
from opdsl.train.config.symmetries import ChannelSource, GridMap
from opdsl.workflow.check import check_file
from opdsl.workflow.programs.overrides import parse_set
from opdsl.workflow.programs.program import open_program, resolve_settings
from opdsl.workflow.programs.symmetries import compiled_symmetries

SQUARE = "domain D = grid(x: 0..1, y: 0..1, boundary = periodic)"
SCALAR = "input a : D -> R^1\noutput u : D -> R^1\nu = a |> linear(out = 1)"
VECTOR = "input a : D -> R^{p, vx, vy}\noutput w : D -> R^{vx, vy}\nw = a |> linear(out = 2)"


def program(body, train=""):
    block = f"train M {{ {train} }}\n" if train else ""
    return f"edition 2026\n\nmodel M {{\n{body}\n}}\n{block}"


def graph(*parts):
    return check(Source("m.op", program("\n".join(parts)))).sound()


def compiled(domain, ports, text):
    (symmetry,) = compiled_symmetries(graph(domain, ports), [text])
    return symmetry


def refusal(domain, ports, text):
    with pytest.raises(OpError) as caught:
        compiled(domain, ports, text)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


@pytest.mark.parametrize(
    ("text", "order", "move"),
    [
        ("reflect(x)", 2, GridMap(2, reversals=((0, 1),))),
        ("reflect(y)", 2, GridMap(2, reversals=((1, 1),))),
        ("swap(x, y)", 2, GridMap(2, exchanged=(0, 1))),
        ("rotate(x, y)", 4, GridMap(2, reversals=((1, 1),), exchanged=(0, 1))),
        ("shift(y)", None, GridMap(2, shifted=1)),
    ],
)
def test_a_declaration_becomes_axes_of_every_function(text, order, move):
    symmetry = compiled(SQUARE, SCALAR, text)
    assert (symmetry.text, symmetry.order) == (text, order)
    assert symmetry.maps == {"a": move, "u": move}
    assert symmetry.channels == {}


@pytest.mark.parametrize(
    ("sampling", "boundary", "roll"),
    [
        ("both", "dirichlet", 0),
        ("interior", "dirichlet", 0),
        ("centres", "neumann", 0),
        ("lower", "periodic", 1),
        ("upper", "periodic", -1),
        ("centres", "periodic", 0),
    ],
)
def test_a_reflection_follows_the_sampling(sampling, boundary, roll):
    domain = f"domain D = grid(x: 0..1, boundary = {boundary}, sampling = {sampling})"
    assert compiled(domain, SCALAR, "reflect(x)").maps["u"].reversals == ((0, roll),)


def test_components_are_found_by_name_in_every_function():
    symmetry = compiled(SQUARE, VECTOR, "reflect(x, odd = [vx])")
    assert symmetry.channels == {
        "a": (ChannelSource("a", 0), ChannelSource("a", 1, -1), ChannelSource("a", 2)),
        "w": (ChannelSource("w", 0, -1), ChannelSource("w", 1)),
    }


@pytest.mark.parametrize("pairs", ["[(vx, vy)]", "(vx, vy)", "[(w[vx], w[1]), (a[1], a[vy])]"])
def test_pairs_are_exchanged_inside_each_function(pairs):
    symmetry = compiled(SQUARE, VECTOR, f"swap(x, y, pairs = {pairs})")
    assert symmetry.channels["w"] == (ChannelSource("w", 1), ChannelSource("w", 0))
    assert symmetry.channels["a"][1:] == (ChannelSource("a", 2), ChannelSource("a", 1))


def test_vectors_turn_by_a_quarter():
    symmetry = compiled(SQUARE, VECTOR, "rotate(x, y, vectors = [(vx, vy)])")
    assert symmetry.channels["w"] == (ChannelSource("w", 1, -1), ChannelSource("w", 0))


def test_a_vector_may_be_two_functions_and_a_vector_without_domain():
    ports = """input vx : D -> R^1
input c : R^{cx, cy}
output s : D -> R^1
output t : D -> R^1
s = vx * broadcast(linear(c, out = 1), to = D)
t = vx"""
    symmetry = compiled(SQUARE, ports, "rotate(x, y, vectors = [(s, t), (cx, cy)], odd = [vx])")
    assert symmetry.channels["s"] == (ChannelSource("t", 0, -1),)
    assert symmetry.channels["t"] == (ChannelSource("s", 0),)
    assert symmetry.channels["c"] == (ChannelSource("c", 1, -1), ChannelSource("c", 0))
    assert symmetry.channels["vx"] == (ChannelSource("vx", 0, -1),)
    assert "c" not in symmetry.maps


# ------------------------------------------------------------------------------------ refusals

WALLS = "domain D = grid(x: 0..1, y: 0..1, boundary = dirichlet)"


@pytest.mark.parametrize(
    ("domain", "text", "words"),
    [
        (SQUARE, "reflect(z)", "has an axis `z`"),
        (WALLS, "shift(x)", "which is not periodic"),
        (
            "domain D = grid(x: 0..1, y: 0..2, boundary = periodic)",
            "swap(x, y)",
            "equal length: `x` and `y` have 1 and 2",
        ),
        (
            "domain D = grid(x: 0..1, y: 0..1, boundary = (periodic, none))",
            "swap(x, y)",
            "have `periodic` and `none`",
        ),
        (
            "domain D = grid(x: 0..1, y: 0..1, boundary = none, sampling = (both, centres))",
            "rotate(x, y)",
            "have `both` and `centres`",
        ),
        (
            "domain D = grid(x: 0..1, y: 0..1, min = (8, 16))",
            "swap(x, y)",
            "`min` is 8 and 16",
        ),
        (
            "domain D = grid(x: 0..1, boundary = dirichlet..neumann)",
            "reflect(x)",
            "whose conditions are `dirichlet` and `neumann`",
        ),
        (
            "domain D = grid(x: 0..1, y: 0..1, boundary = dirichlet..none)",
            "rotate(x, y)",
            "whose conditions are `dirichlet` and `none`",
        ),
        ("domain D = grid(x: 0..1, sampling = lower)", "reflect(x)", "one at its lower end only"),
        ("domain D = grid(x: 0..1, sampling = upper)", "reflect(x)", "one at its upper end only"),
        ("domain D = points(2)", "reflect(x)", "has an axis `x` of a grid"),
        ("domain D = sphere(lat, lon)", "reflect(lon)", "has an axis `lon` of a grid"),
        (SQUARE, "reflect(x, odd = [vx])", "no function has a component `vx`"),
        (SQUARE, "reflect(x, odd = [u[3]])", "`u` has no channel 3"),
        (SQUARE, "reflect(x, odd = [u[p]])", "`u` has no component `p`"),
        (SQUARE, "reflect(x, odd = [b[0]])", "no input or output `b`"),
        (SQUARE, "reflect(x, odd = [u, u[0]])", "two rules of `reflect` hold for channel 0 of `u`"),
        (SQUARE, "swap(x, y, pairs = [(a, u)])", "cannot be exchanged with channel 0 of `u`"),
    ],
)
def test_a_symmetry_that_the_model_does_not_allow_is_refused(domain, text, words):
    diagnostic = refusal(domain, SCALAR, text)
    assert diagnostic.code == "OP0655"
    assert words in diagnostic.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("reflekt(x)", "no symmetry `reflekt`"),
        ("x", "a symmetry is a call"),
        ("reflect(x, y)", "`reflect` takes one axis"),
        ("swap(x)", "`swap` takes two different axes"),
        ("swap(x, x)", "`swap` takes two different axes"),
        ("shift(x, odd = [u])", "`shift` has no option `odd`"),
        ("swap(x, y, vectors = [(u, u)])", "`swap` has no option `vectors`"),
        ("swap(x, y, pairs = [a])", "a pair has two components"),
        ("reflect(x, odd = [3])", "this names no component"),
    ],
)
def test_a_text_that_is_no_symmetry_is_a_bad_setting(text, words):
    diagnostic = refusal(SQUARE, SCALAR, text)
    assert diagnostic.code == "OP0604"
    assert words in diagnostic.message


def test_a_function_without_the_axis_is_refused():
    domains = "domain D = grid(x: 0..1, boundary = periodic)\ndomain E = grid(t: 0..1)"
    ports = """input a : D -> R^1
input f : E -> R^1
output u : D -> R^1
u = a + broadcast(linear(integrate(f), out = 1), to = D)"""
    diagnostic = refusal(domains, ports, "reflect(x)")
    assert diagnostic.code == "OP0655"
    assert "`E`, the domain of `f`, has no axis `x`" in diagnostic.message


def test_a_field_that_comes_with_the_call_is_refused():
    ports = """input a : D -> R^1
output u : D -> R^1
u = concat(a, static(D, fields = [mask])) |> linear(out = 1)"""
    diagnostic = refusal(SQUARE, ports, "reflect(x)")
    assert "`mask` is given with each call" in diagnostic.message


def test_an_output_changes_as_the_input_that_it_becomes():
    ports = """input now : D -> R^{vx, vy}
output next : D -> R^2
feedback next -> now
next = now |> linear(out = 2)"""
    diagnostic = refusal(SQUARE, ports, "reflect(x, odd = [vx])")
    assert "`next` becomes `now`" in diagnostic.message
    assert compiled(SQUARE, ports, "reflect(x, odd = [vx, next[0]])").channels.keys() == {
        "now",
        "next",
    }


def test_every_wrong_declaration_is_reported():
    with pytest.raises(OpError) as caught:
        compiled_symmetries(graph(SQUARE, SCALAR), ["reflect(z)", "swap(x, y)", "shift(t)"])
    assert [x.code for x in caught.value.diagnostics] == ["OP0655", "OP0655"]


# ------------------------------------------------------------------- where the setting stands


def settings(train="", **more):
    source = Source("m.op", program(f"{SQUARE}\n{SCALAR}", train))
    ready = open_program(source, Path(), **more)
    return resolve_settings(ready)


def test_a_train_block_holds_calls():
    resolved = settings("symmetries = [reflect(x), swap(x,y)]")
    assert resolved.settings.symmetries == ["reflect(x)", "swap(x, y)"]
    assert {type(x) for x in resolved.settings.symmetries} == {str}
    assert resolved.origins["symmetries"].startswith("train block")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("symmetries=[shift(x)]", ["shift(x)"]),
        ("symmetries=shift(x)", ["shift(x)"]),
        ("symmetries=none", []),
        ("symmetries=[]", []),
    ],
)
def test_an_option_overrides_it(text, value):
    resolved = settings("symmetries = [reflect(x)]", sets=[text])
    assert resolved.settings.symmetries == value


def test_a_settings_file_overrides_it(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text('symmetries: [reflect(x), "swap(x, y)"]\n')
    assert settings(configs=[str(path)]).settings.symmetries == ["reflect(x)", "swap(x, y)"]


def test_a_call_is_no_value_of_another_setting():
    for text in ("eval { resolutions = [f(x)] }", "data { fields { a = [f(x)] } }"):
        with pytest.raises(OpError) as caught:
            settings(text)
        assert caught.value.diagnostics[0].code == "OP0604"
        assert "cannot be [f(x)]" in caught.value.diagnostics[0].message
    with pytest.raises(OpError) as caught:
        settings(sets=["model.k=[f(x)]"])
    assert caught.value.diagnostics[0].code == "OP0208"


def test_a_call_alone_is_a_list_of_one():
    assert settings("symmetries = reflect(x)").settings.symmetries == ["reflect(x)"]


def test_check_reports_a_symmetry_that_does_not_fit():
    source = Source("m.op", program(f"{WALLS}\n{SCALAR}", "symmetries = [shift(x)]"))
    (diagnostic,) = check_file(source, Path())
    assert diagnostic.code == "OP0655"
    assert "train block m.op" in diagnostic.labels[0].span.source.name


def test_parse_set_keeps_the_text_of_a_call():
    assert parse_set("symmetries=[reflect( x )]").value == ["reflect(x)"]


def test_a_program_with_symmetries_is_formatted():
    text = program(f"{SQUARE}\n{SCALAR}", "symmetries=[reflect(x,odd=[u])]")
    assert "symmetries = [reflect(x, odd = [u])]" in format_text(text, "m.op")
