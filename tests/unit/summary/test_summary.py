"""What a model costs and promises, counted by hand."""

import json
import subprocess
import sys

import pytest

from opdsl.compiler import load
from opdsl.diagnostics import OpError
from opdsl.ir.axes import Axis
from opdsl.ir.spaces import Domain, Space
from opdsl.summary import parse_at, summarise, to_json, to_text
from opdsl.summary.table import human, memory
from tests.hand_built import Flatten, Stencil, Writer, fno, residual, square, uno

LINEAR = {"lift": 3 * 128 + 128 + 128 * 64 + 64, "w": 64 * 64 + 64}
SPECTRAL = 2 * 64 * 64 * 33 * 17  # complex matrices on 33 x 17 kept modes


def test_parameters_are_those_of_the_formulas():
    summary = summarise(fno())
    project = 64 * 2 + 2 + 2 * 1 + 1
    assert summary.params == LINEAR["lift"] + 4 * (SPECTRAL + LINEAR["w"]) + project
    assert summary.complex_params == 4 * SPECTRAL // 2


def test_a_folded_group_counts_all_its_copies():
    rows = {x.title: x for x in summarise(fno()).rows}
    assert rows["FourierLayer ×3"].params == 3 * (SPECTRAL + LINEAR["w"])
    assert rows["FourierLayer"].params == SPECTRAL + LINEAR["w"]


@pytest.mark.parametrize("graph", [fno(), uno(), residual()], ids=lambda x: x.name)
def test_the_outermost_rows_add_up_to_the_total(graph):
    summary = summarise(graph, parse_at("x=68,y=70", graph))
    outer = [x for x in summary.rows if x.level == 0]
    assert sum(x.params for x in outer) == summary.params
    for kind in ("flops", "bytes"):
        parts = sum(getattr(x, kind).at(summary.sizes) for x in outer)
        assert parts == pytest.approx(getattr(summary, kind).at(summary.sizes), rel=1e-12)


def test_a_number_is_its_formula_at_the_resolution():
    summary = summarise(fno(), {"D": (64, 48)})
    lift = next(x for x in summary.rows if x.title == "linear")
    assert str(lift.flops) == "768·D.x·D.y"
    assert summary.number(lift.flops) == 768 * 64 * 48
    assert summarise(fno()).number(lift.flops) is None


def test_a_coarse_grid_costs_what_its_points_cost():
    summary = summarise(uno(), {"D": (69, 68)})
    rows = {x.path: x for x in summary.rows}
    resampled = rows["e1.fourier_layer.s.resample"].bytes
    assert summary.number(resampled) == 34 * 34 * 64 * 4


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("at", [None, "x=68,y=128"])
def test_the_text_fits_and_is_as_it_was(width, at, golden):
    graph = uno()
    text = to_text(summarise(graph, at and parse_at(at, graph)), width)
    table = text.partition("operation ")[2].partition("\n\n")[0]
    assert max(map(len, table.splitlines())) <= width
    golden(text, f"summary/uno_{'at' if at else 'any'}_{width}.txt")


def odd():
    """A model that converges nowhere and is pinned twice."""
    domain = Domain(
        name="X", axes=(Axis(name="x", fixed=100), Axis(name="t", min=7, multiple_of=4))
    )
    p = Writer(a=Space(domain=domain, channels=2))
    u = p.node("u.flatten", Flatten(), p.node("u.stencil", Stencil(), "a"))
    return p.graph("Odd", {"u": p.node("u.stencil_2", Stencil(), u)})


def test_the_certificate_names_what_breaks_it():
    certificate = to_text(summarise(odd())).partition("certificate")[2]
    assert "X: any grid with x = 100, t >= 8, t a multiple of 4" in certificate
    assert (
        "`u.stencil` its stencil shrinks with the grid  (specs/model.op:2), and 1 more"
        in certificate
    )
    assert "pinned      X.x has 100 points\n              `u.flatten` has a channel" in certificate


def test_the_json_holds_formulas_and_numbers():
    found = json.loads(json.dumps(to_json(summarise(odd(), {"X": (100, 8)}))))
    assert found["total"]["bytes"] == {"formula": "24·X.t·X.x", "number": 24 * 800}
    assert found["certificate"]["diverging"][1]["path"] == "u.stencil_2"
    assert [x["least"] for x in found["certificate"]["axes"]] == [100, 8]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("x=64,z=3", "OP0604", "there is no axis `z`"),
        ("x=64", "OP0604", "no number of points for `D.y`"),
        ("x=6.5,y=3", "OP0604", "`x=6.5` is not a resolution"),
        ("", "OP0604", "`` is not a resolution"),
        ("x=64,x=64,y=64", "OP0604", "`x` is given twice"),
        ("E.x=64,y=64", "OP0604", "there is no axis `E.x`"),
        ("x=32,y=64", "OP0903", "32 points along x of `D`; `DarcyFNO` promises x >= 33"),
    ],
)
def test_a_resolution_that_does_not_fit_is_refused(text, code, said):
    with pytest.raises(OpError) as caught:
        parse_at(text, fno())
    assert [x.code for x in caught.value.diagnostics] == [code]
    assert caught.value.diagnostics[0].message == said


@pytest.mark.parametrize(
    ("text", "said"),
    [("t=10", "multiples of 4"), ("t=4", "t >= 8"), ("x=99,t=8", "x = 100 only")],
)
def test_a_resolution_off_the_promise_is_refused(text, said):
    with pytest.raises(OpError) as caught:
        parse_at(text, odd())
    assert [x.code for x in caught.value.diagnostics] == ["OP0903"]
    assert said in caught.value.diagnostics[0].message


def test_a_domain_without_its_axis_is_answered_with_what_to_write():
    with pytest.raises(OpError) as caught:
        parse_at("D=64", fno())
    (one,) = caught.value.diagnostics
    assert [x.text for x in one.helps] == ["`D` is a domain: write `D.x=33,D.y=33`"]


def test_a_fixed_axis_need_not_be_named():
    assert parse_at("t=8", odd()) == {"X": (100, 8)}


def test_an_axis_alone_stands_for_that_of_every_domain():
    latent = square().model_copy(update={"name": "L"})
    p = Writer(a=Space(domain=square(), channels=1), b=Space(domain=latent, channels=1))
    graph = p.graph("Two", {"u": p.node("u.stencil", Stencil(), "a")})
    assert parse_at("x=40, D.y=50, L.y=60", graph) == {"D": (40, 50), "L": (40, 60)}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 "), (999, "999 "), (1000, "1.0 k"), (999_960, "1.0 M"), (3.4e9, "3.4 G")],
)
def test_large_numbers_have_a_unit(number, text):
    assert human(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(1023, "1023 B"), (1024, "1.0 KiB"), (1024**2 - 1, "1.0 MiB")]
)
def test_memory_counts_in_powers_of_two(number, text):
    assert memory(number) == text


def test_a_summary_imports_no_torch():
    code = """
import sys
from opdsl.summary import summarise, to_text
from tests.hand_built import fno
to_text(summarise(fno()))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603  the line above


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("points(2)", "are means over its points: uniform weights"),
        ("points(2, measure = voronoi)", "by the Voronoi cells of its points"),
        ("points(2, measure = density)", "by the density of its points"),
        ("mesh(2)", "by the weights or the cells that come with its points"),
    ],
)
def test_the_certificate_says_what_a_point_stands_for_in_integrals(declared, said):
    text = f"""edition 2026
model M {{
  domain P = {declared}
  domain Q = points(2)
  input f : P -> R^1
  output u : Q -> R^1
  u = f |> gno(to = Q, radius = 0.1, reduction = integral)
}}"""
    shown = summarise(load(text))
    assert f"integrals   on P {said}" in to_text(shown, 200)
    measures = to_json(shown)["certificate"]["measures"]
    assert list(measures) == ["P"]
    means = summarise(load(text.replace(", reduction = integral", "")))
    assert "integrals" not in to_text(means, 200)
