"""Conditions at the ends of axes and samplings: programs, their flat forms, and refusals."""

import itertools
import json

import pytest

from opdsl.compiler import check
from opdsl.export import from_json, to_json, to_program
from opdsl.ir.axes import Axis
from opdsl.ir.fingerprint import fingerprint
from opdsl.sampling import SAMPLINGS
from tests.same_graph import assert_same

CONDITIONS = ("dirichlet", "neumann", "none")
BOUNDARIES = (
    "periodic",
    *CONDITIONS,
    *("..".join(x) for x in itertools.product(CONDITIONS, repeat=2)),
)


def result(options, axes="x: 0..1, y: 0..2"):
    return check(
        f"""
edition 2026

model M {{
  domain D = grid({axes}, {options}min = 33)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> linear(out = 8) |> gelu() |> linear(out = 1)
}}
"""
    )


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_declarations_survive_as_flat_programs_and_as_json(boundary, sampling):
    checked = result(f"boundary = (none, {boundary}), sampling = (both, {sampling}), ")
    if boundary == "periodic" and sampling in {"both", "interior"}:
        assert [x.code for x in checked.diagnostics] == ["OP0322"]
        return
    graph = checked.sound()
    again = check(to_program(graph)).sound()
    assert fingerprint(again) == fingerprint(graph)
    assert again.domains == graph.domains
    assert_same(from_json(json.loads(json.dumps(to_json(graph)))), graph)


def test_each_sampling_and_each_pair_of_conditions_is_another_program():
    texts = [f"sampling = {x}, " for x in SAMPLINGS]
    texts += [f"boundary = {x}, " for x in BOUNDARIES if len(set(x.split(".."))) == 2]
    prints = {fingerprint(result(x).sound()) for x in texts}
    assert len(prints) == len(texts)


def test_defaults_are_what_programs_without_the_words_mean():
    plain = fingerprint(result("").sound())
    for options in ("sampling = both, ", "boundary = none..none, ", "boundary = none, "):
        assert fingerprint(result(options).sound()) == plain
    ring = fingerprint(result("boundary = periodic, ").sound())
    assert fingerprint(result("boundary = periodic, sampling = lower, ").sound()) == ring
    assert "sampling" not in Axis(name="x").model_dump()


def test_the_conditions_at_the_two_ends():
    graph = result("boundary = (dirichlet..neumann, periodic), ").sound()
    x, y = graph.domains[0].axes
    assert (x.ends, y.ends) == (("dirichlet", "neumann"), None)
    assert (x.points, y.points) == ("both", "lower")


@pytest.mark.parametrize(
    ("declaration", "text"),
    [
        ("points(2, boundary = dirichlet)", "a set of points has no axes with two ends"),
        ("points(2, sampling = both)", "a set of points has no axes with two ends"),
        ("graph(2, boundary = dirichlet..none)", "a graph has no axes with two ends"),
        ("mesh(2, sampling = centres)", "a mesh has no axes with two ends"),
        ("sphere(lat, lon, boundary = periodic)", "a sphere has no axes with two ends"),
        ("extend(D, fraction = 0.5, boundary = none)", "an extension, which is periodic,"),
    ],
)
def test_domains_without_two_ends_refuse_what_is_said_about_ends(declaration, text):
    checked = check(
        f"""
edition 2026

model M {{
  domain D = grid(x: 0..1, min = 33)
  domain P = {declaration}
  input a : D -> R^1
  output u : D -> R^1

  u = a
}}
"""
    )
    said = next(x for x in checked.diagnostics if x.code == "OP0321")
    assert text in said.message
    assert "boundary" in said.message or "sampling" in said.message


@pytest.mark.parametrize(
    "options", ["boundary = dirichlet..periodic, ", "boundary = periodic..periodic, "]
)
def test_one_end_is_not_periodic_without_the_other(options):
    assert [x.code for x in result(options).diagnostics] == ["OP0321"]


@pytest.mark.parametrize(
    ("options", "near"),
    [("sampling = center, ", "centres"), ("boundary = dirichlet..neuman, ", "neumann")],
)
def test_misspelt_words_are_answered_with_the_right_one(options, near):
    (said,) = result(options).diagnostics
    assert said.code == "OP0208"
    assert near in str(said.helps)
