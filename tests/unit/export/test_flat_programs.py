"""The core of a model as text: it reads as the same graph."""

import pytest

from opdsl.compiler import check, load
from opdsl.diagnostics import OpError
from opdsl.export import from_json, to_json, to_program
from opdsl.ir.fingerprint import fingerprint
from opdsl.syntax.printer import format_text
from tests.conformance.test_blocks import CASES, on_one_axis
from tests.corpus import graphs
from tests.hand_built import Writer
from tests.property.well_typed import program
from tests.same_graph import assert_same

MODELS = graphs()


def assert_round_trip(graph):
    text = to_program(graph)
    again = check(text)
    assert again.graph, (text, [x.message for x in again.diagnostics])
    assert_same(graph, again.graph)
    assert fingerprint(graph) == fingerprint(again.graph)
    assert format_text(text, "flat") == text


@pytest.mark.parametrize("name", MODELS)
def test_a_flat_program_reads_as_its_graph(name):
    assert_round_trip(MODELS[name])


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_read_as_their_graphs(seed):
    assert_round_trip(load(program(seed).text()))


def alone(case):
    """A model of one block."""
    names = "abcdefgh"[: len(case.spaces)]
    p = Writer(**dict(zip(names, case.spaces, strict=True)))
    graph = p.graph("M", {"u": p.node("w.k", case.block, *names)})
    met = (x.domain for x in (*case.spaces, case.result))
    declared = {y.name: y for x in met for y in x.declared}
    graph = graph.model_copy(update={"domains": tuple(declared.values())})
    return from_json(in_degrees(to_json(graph)))


def in_degrees(data):
    """The data with spheres whose axes are those of a declared one."""
    if isinstance(data, list):
        return [in_degrees(x) for x in data]
    if not isinstance(data, dict):
        return data
    data = {k: in_degrees(x) for k, x in data.items()}
    if data.get("kind") == "sphere":
        ends = ({"lo": -90.0, "hi": 90.0}, {"lo": 0.0, "hi": 360.0})
        data["axes"] = [x | y for x, y in zip(data["axes"], ends, strict=True)]
    return data


SOME = [x for x in CASES if not x.block.is_identity(*x.spaces)]


@pytest.mark.parametrize("case", on_one_axis(SOME), ids=str)
def test_every_block_can_be_said(case):
    graph = alone(case)
    if "halved=False" in repr(graph.outputs):  # coefficients of complex functions have no type
        with pytest.raises(OpError, match="modes of a complex function"):
            to_program(graph)
    else:
        assert_round_trip(graph)


def one(body, head="", domain="grid(x: 0..1, min = 33)"):
    return load(
        f"edition 2026\n{head}\nmodel M {{\n domain D = {domain}\n input a : D -> R^3\n"
        f" output u : D -> R^3\n{body}\n}}"
    )


@pytest.mark.parametrize(
    "domain",
    [
        "grid(x: -1..2.5, y: 0..0.1, boundary = (periodic, neumann), min = (33, 40), max = 99)",
        "grid(x: 1e-7..1, min = 32, multiple_of = 8)",
        "grid(x: 0..1, fixed = 64)",
        "interval(t: 0..10, boundary = none, min = 9)",
        "sphere(lat, lon, sampling = equiangular, min = (33, 64))",
        "points(3, geometry = per_sample, min = 10, max = 1000)",
        "points(3, measure = voronoi, period = (1.0, none, 2.5))",
        "points(1, measure = density, period = 0.1)",
        "mesh(3, measure = uniform)",
        "mesh(2, fixed = 99)",
        "graph(2)",
    ],
)
def test_every_declaration_of_a_domain_comes_back(domain):
    assert_round_trip(one("u = linear(a, out = 3)", domain=domain))


def test_products_steps_extensions_and_spectra_come_back():
    text = """
edition 2026
model M {
  domain X = grid(x: 0..1, boundary = periodic, min = 64)
  domain T = interval(t: 0..1, min = 20)
  domain E = extend(X / 2, fraction = 1 / 3, sides = both)
  domain K = spectrum(X, 5)
  input a : X * T -> R^1
  input s : K -> C^2
  output u : T * (X / 2) -> R^1
  output v : E / 2 -> R^2
  output w : spectrum(X, 3) -> C^2
  w = ifft(s) |> fft(modes = 3)
  v = ifft(s) |> resample(to = X / 2) |> pad(to = E) |> resample(to = E / 2)
  u = broadcast(integrate(a), to = T * (X / 2))
}
"""
    assert_round_trip(load(text))


def test_shared_repeats_come_back_however_they_are_nested():
    body = """
  b = linear(a, out = 3)
  c = a |> repeat 2 { repeat 3 shared { add(b) |> linear(out = 3) } |> tanh() }
  d = c |> repeat 2 shared { linear(out = 3) |> repeat 4 shared { residual { linear(out = 3) } } }
  e = d |> repeat 3 shared { spectral_conv(modes = 4, to = D / 2) |> resample(to = D) |> sub(b) }
  u = e |> repeat 1 shared { linear(out = 3) }"""
    assert_round_trip(one(body))


def test_a_shared_repeat_may_start_from_what_it_takes_elsewhere_too():
    assert_round_trip(one("u = a |> repeat 3 shared { add(a) |> linear(out = 3) }"))


def test_weights_shared_outside_of_a_repeat_cannot_be_said():
    graph = one("u = a |> repeat 2 shared { linear(out = 3) }")
    with pytest.raises(OpError, match="shares weights outside"):
        to_program(graph.model_copy(update={"scopes": ()}))


def test_names_are_free_and_never_reserved():
    body = """
  u_linear = gelu(a)
  u = u_linear |> linear(out = 3) |> apply(tanh)
  repeat_2 = static(D, fields = ["u_linear", "repeat"])"""
    assert_round_trip(one(body))
    data = to_json(one("b = linear(a, out = 4)\n u = linear(b, out = 3)"))
    data["nodes"][0]["path"] = data["nodes"][1]["inputs"][0] = "repeat"
    assert "repeat_2 = linear(a" in to_program(from_json(data))


def test_a_word_that_is_also_an_input_stands_in_quotes():
    data = to_json(one("u = norm(a, kind = layer)"))
    data["inputs"][0]["name"] = data["nodes"][0]["inputs"][0] = "layer"
    graph = from_json(data)
    assert 'kind = "layer"' in to_program(graph)
    assert_round_trip(graph)


def test_outputs_may_show_one_node_an_input_or_each_other():
    text = """
edition 2026
model M "two \\"names\\"" {
  domain D = grid(x: 0..1)
  input a : D -> R^{p, q} "what comes in"
  output u : D -> R^2 "what goes out"
  output v : D -> R^2
  output w : D -> R^2
  feedback u -> a
  u = linear(a, out = 2)
  v = u
  w = a
}
"""
    graph = load(text)
    assert_round_trip(graph)
    again = load(to_program(graph))
    assert (again.doc, again.inputs[0].doc) == (graph.doc, graph.inputs[0].doc)


@pytest.mark.parametrize("value", [1.0, -2.0, 1e-300, 0.1, 1e22, 12345678901234567.0, -0.0])
def test_numbers_come_back_to_the_bit(value):
    data = to_json(one("u = a * 2"))
    data["nodes"][0]["params"]["factor"] = value
    again = load(to_program(from_json(data)))
    assert again.nodes[0].block.factor.hex() == value.hex()


def test_large_numbers_are_written_short():
    data = to_json(one("u = a * 2"))
    data["nodes"][0]["params"]["factor"] = 1e22
    assert "scale(a, 1e+22)" in to_program(from_json(data))
