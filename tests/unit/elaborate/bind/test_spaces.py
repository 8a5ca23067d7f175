"""Spaces: channels, domains, components, annotations."""

import pytest

from tests.programs import graph, model, only

BLOCK = """block Mix "sums two functions" {
  domain D : grid
  domain to : grid = D
  dim c
  dim out = 2 * c
  param gate : none | soft = none
  input v : D -> R^c
  input w : D -> R^c
  output z : to -> R^out
  require c < 100 "few channels"

  g = if gate == none then w else skip(w, kind = soft)
  z = v + g |> linear(out = out) |> resample(to = to)
}
"""


def test_dims_and_domains_follow_from_the_inputs():
    g = graph(model("output u : D -> R^4\nu = Mix(a, a)", before=BLOCK))
    assert str(g.outputs[0].space) == "D -> R^4"


def test_a_domain_argument_moves_the_result():
    g = graph(model("output u : D / 2 -> R^4\nu = Mix(a, a, to = D / 2)", before=BLOCK))
    assert str(g.outputs[0].space) == "D/2 -> R^4"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("Mix(a)", "OP0206"),
        ("Mix(a, a, a)", "OP0206"),
        ("Mix(a, 3)", "OP0209"),
        ("Mix(a, gelu)", "OP0209"),
        ("Mix(a, linear(a, out = 3))", "OP0303"),
        ("Mix(a, resample(a, to = D / 2))", "OP0304"),
        ("Mix(a, a, out = 0)", "OP0208"),
        ("Mix(a, a, out = 2.5)", "OP0208"),
        ("Mix(a, a, gate = sft)", "OP0208"),
        ("Mix(a, a, to = 3)", "OP0209"),
        ("Mix(a, a, too = D)", "OP0207"),
        ("Mix(a, a, out = 4, out = 4)", "OP0203"),
        ("linear(a, out = 4, bias = 3)", "OP0208"),
        ("linear(a, a, out = 4)", "OP0206"),
        ("apply(a, geluu)", "OP0208"),
        ("spectral_conv(a, modes = (4, 4, 4), out = 4)", "OP0308"),
        ("spectral_conv(a, modes = -1, out = 4)", "OP0208"),
        ("spectral_conv(a, modes = 40, out = 4)", "OP0309"),
        ("linear(a, out = 100) |> Mix(linear(a, out = 100)) |> linear(out = 4)", "OP0320"),
        ("a", "OP0303"),
        ("7", "OP0209"),
        ("gelu", "OP0209"),
        ("grid(x)", "OP0209"),
        ("a |> linear(a, out = 4)", "OP0206"),
        ("(a, a)", "OP0209"),
        ("if a then a else a", "OP0209"),
        ("a |> repeat -1 { gelu() }", "OP0208"),
        ("a |> repeat 2 shared { linear(out = 3) }", "OP0306"),
    ],
)
def test_one_wrong_value_gives_one_diagnostic(value, code):
    assert only(model(f"output u : D -> R^4\nu = {value}", before=BLOCK)).code == code


def test_an_annotation_must_hold():
    good = "output u : D -> R^4\nu : D -> R^4 = linear(a, out = 4)"
    assert graph(model(good))
    assert only(model(good.replace("R^4 =", "R^3 ="))).code == "OP0305"


def test_named_components_match_by_name_and_order():
    body = "input b : D -> R^{p, q}\noutput u : D -> R^{%s}\nu = b + linear(a, out = 2)"
    assert graph(model(body % "p, q")).outputs[0].space.components == ("p", "q")
    assert only(model(body % "q, p")).code == "OP0303"


def test_components_are_distinct():
    assert only(model("output u : D -> R^{p, p}\nu = gelu(a)")).code == "OP0203"


def test_the_same_steps_lead_to_the_same_domain():
    body = "domain H = D / 2\noutput u : D / 4 -> R^2\n"
    body += "u = a |> resample(to = H) |> resample(to = H / 2)"
    assert str(graph(model(body)).outputs[0].space) == "D/4 -> R^2"


def test_two_declarations_are_two_domains_even_where_sizes_agree():
    body = "domain E = grid(x: 0..1, y: 0..1, min = 65)\ninput b : E -> R^2\n"
    body += "output u : D -> R^2\nu = a + b"
    assert only(model(body)).code == "OP0304"


def test_an_extension_is_left_by_crop():
    body = "domain E = extend(D, fraction = 0.25)\noutput u : %s -> R^2\nu = a |> pad(to = E)%s"
    assert graph(model(body % ("D", " |> crop(to = D)")))
    fault = only(model(body % ("D", "")))
    assert fault.helps[0].text == "leave the extension: `crop(to = D)`"


@pytest.mark.parametrize(
    ("domain", "code"),
    [
        ("", "OP0205"),
        ("x: 1..0", "OP0208"),
        ("x, x", "OP0203"),
        ("x, boundary = wrap", "OP0208"),
        ("x, min = 0", "OP0208"),
        ("x, min = (3, 4)", "OP0208"),
        ("x, minn = 4", "OP0207"),
        ("x, min = 9, max = 4", "OP0208"),
        ("3", "OP0208"),
    ],
)
def test_a_wrong_grid_gives_one_diagnostic(domain, code):
    assert only(model("output u : D -> R^2\nu = gelu(a)", domain=domain)).code == code


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("domain E = gird(x)", "OP0201"),
        ("domain E = extend(D)", "OP0205"),
        ("domain E = extend(D, fraction = 9)", "OP0208"),
        ("domain E = extend(D, fraction = (0.1, 0.2, 0.3, 0.4, 0.5))", "OP0208"),
        ("domain E = extend(D, fraction = 0)", "OP0208"),
        ("domain E = extend(D, fraction = 0.1, rounding = down)", "OP0208"),
        ("domain E = extend(3, fraction = 1)", "OP0209"),
        ("domain E = 3", "OP0209"),
        ("domain E = points(9)", "OP0208"),
        ("domain E = points(2, measure = area)", "OP0208"),
        ("domain E = points(4, measure = voronoi)", "OP0208"),
        ("domain E = points(2, period = (1.0, 2.0, 3.0))", "OP0208"),
        ("domain E = points(2, period = (1.0, open))", "OP0208"),
        ("domain E = points(2, period = 0)", "OP0208"),
        ("domain E = points(2, period = true)", "OP0208"),
        ("domain E = points(2, perod = 1)", "OP0207"),
        ("domain E = sphere(lat)", "OP0208"),
        ("domain E : grid", "OP0205"),
        ("domain E : gird = D", "OP0201"),
        ("param w : int", "OP0205"),
        ("param w : int = 2.5", "OP0208"),
        ("param w : bool = 1", "OP0208"),
        ("param w : modes = (1, x)", "OP0208"),
        ("dim c = 1.5", "OP0208"),
        ("domain E = interval(x, y)", "OP0208"),
        ("domain E = D * D", "OP0209"),
        ("domain E = spectrum(D, (1, 2, 3))", "OP0308"),
        ("feedback u -> b", "OP0201"),
        ("input b : D -> Z^3", "OP0201"),
        ("input b : F -> R^3", "OP0201"),
        ("input b : D -> R^(0)", "OP0208"),
        ("domain a = D", "OP0203"),
    ],
)
def test_a_wrong_declaration_is_reported(statement, code):
    from tests.programs import codes

    assert code in codes(model(f"{statement}\noutput u : D -> R^2\nu = gelu(a)"))


@pytest.mark.parametrize(
    ("declared", "measure", "period"),
    [
        ("points(2)", "uniform", None),
        ("graph(2)", "uniform", None),
        ("mesh(2)", "given", None),
        ("mesh(2, measure = density)", "density", None),
        ("points(2, measure = voronoi, period = 2)", "voronoi", (2.0, 2.0)),
        ("points(3, period = (1.5, none, 1))", "uniform", (1.5, None, 1.0)),
        ("points(3, period = none)", "uniform", None),
    ],
)
def test_points_have_a_measure_and_may_have_a_period(declared, measure, period):
    body = f"domain P = {declared}\ninput f : P -> R^1\noutput u : P -> R^1\n"
    body += "output v : D -> R^2\nu = gelu(f)\nv = gelu(a)"
    domain = next(x for x in graph(model(body)).domains if x.name == "P")
    assert (domain.measure, domain.period) == (measure, period)


def test_functions_are_added_scaled_and_multiplied():
    g = graph(model("output u : D -> R^2\nu = 2 * a - a / 4 + a * tanh(a)"))
    assert [x.keyword for x in g.nodes] == ["scale", "scale", "sub", "apply", "mul", "add"]


def test_conditions_choose_before_run_time():
    body = "param deep : bool = %s\noutput u : D -> R^2\n"
    body += "u = if deep and not (1 > 2) then tanh(a) else gelu(a)"
    for value, kind in (("true", "tanh"), ("false", "gelu")):
        assert graph(model(body % value)).nodes[0].block.kind == kind


def test_modes_are_halved_downwards():
    body = "param m : modes = (9, 4)\noutput u : D -> R^2\nu = spectral_conv(a, modes = m / 2)"
    assert graph(model(body)).nodes[0].block.modes == (4, 2)


def test_parameters_given_from_python_replace_defaults():
    import opdsl

    text = model(
        "param w : int = 4\noutput u : D -> R^2\nu = a |> linear(out = w) |> linear(out = 2)"
    )
    assert opdsl.load(text, w=7).nodes[0].space.channels == 7
    with pytest.raises(opdsl.OpError, match="has no parameter `v`"):
        opdsl.load(text, v=7)
    with pytest.raises(opdsl.OpError, match="OP0208"):
        opdsl.load(text, w="wide")


FIXED = """block Three {
  domain D : grid
  input v : D -> R^3
  output w : D -> R^1
  w = linear(v, out = 1)
}
"""


def test_an_input_with_a_fixed_number_of_channels_takes_no_other():
    good = "output u : D -> R^1\nu = a |> linear(out = 3) |> Three()"
    assert graph(model(good, before=FIXED))
    fault = only(model(good.replace("out = 3", "out = 4"), before=FIXED))
    assert (fault.code, fault.labels[0].span.text) == ("OP0303", "linear(out = 4)")
