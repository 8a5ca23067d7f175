"""The docstring of a block is its page: the formula, the parameters, the source, an example."""

import inspect
import re

import pytest

from opdsl import blocks
from opdsl.compiler import check

every_block = pytest.mark.parametrize("keyword", blocks.names())
OP = re.compile(r"```op\n(.*?)```", re.DOTALL)


def page(keyword: str) -> str:
    return inspect.getdoc(blocks.find(keyword)) or ""


@every_block
def test_a_page_names_every_parameter(keyword):
    said = page(keyword).partition("Attributes:")[2]
    for name in blocks.find(keyword).model_fields:
        assert re.search(rf"^ +{name}: ", said, re.MULTILINE), name


@every_block
def test_a_page_names_its_source(keyword):
    assert "\nSource: " in page(keyword)


@every_block
def test_a_page_has_one_example(keyword):
    assert len(OP.findall(page(keyword))) == 1


@every_block
def test_a_page_begins_with_a_sentence_on_one_line(keyword):
    first, _, rest = page(keyword).partition("\n")
    assert first.endswith(".")
    assert rest.startswith("\n")


@pytest.mark.parametrize(
    ("keyword", "program"), [(k, x) for k in blocks.names() for x in OP.findall(page(k))]
)
def test_the_example_of_a_page_is_a_sound_program_that_uses_the_block(keyword, program):
    found = check(program)
    assert found.diagnostics == ()
    assert keyword in {x.keyword for x in found.graph.nodes}
