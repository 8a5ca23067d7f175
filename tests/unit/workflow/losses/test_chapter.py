"""The chapter on losses: its programs are checked with their settings, and it lists every name."""

import re
from pathlib import Path

import pytest

from opdsl.diagnostics import Source
from opdsl.resources import root
from opdsl.train.losses.expressions.catalogue import ERRORS, OPERATORS, POINTWISE
from opdsl.workflow.check import check_file

CHAPTER = (root("grammar") / "language" / "13-losses.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```op\n(.*?)^```$", CHAPTER, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_losses_of_its_programs_suit_their_models(number):
    assert check_file(Source("<text>", PROGRAMS[number]), Path()) == []


def test_it_names_every_error_and_operator():
    words = set(re.findall(r"\w+", CHAPTER))
    assert {*ERRORS, *OPERATORS, *POINTWISE} - words == set()


def test_a_wrong_equation_is_reported_where_it_stands():
    program = PROGRAMS[2].replace("speed * d(u, x)", "sped * dd(u, x)")
    found = check_file(Source("<text>", program), Path())
    assert sorted(x.code for x in found) == ["OP0700", "OP0701"]


@pytest.mark.parametrize("loss", ["rel_l2(p)", "rel_l2(u) + f(u)"])
def test_a_wrong_loss_of_a_program_is_reported_in_its_place(loss):
    program = re.sub(r"loss = .*", f"loss = {loss}", PROGRAMS[1])
    (found,) = check_file(Source("<text>", program), Path())
    line = next(i for i, x in enumerate(program.splitlines(), 1) if "loss" in x)
    assert found.labels[0].span.line == line
