"""The files for editors are those of the table of words, and colour every program whole."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from opdsl import resources
from opdsl.syntax.words import KEYWORDS

EDITORS = resources.root("grammar") / "editors"
PROGRAMS = sorted((Path(__file__).parents[2] / "data" / "language").glob("*.op"))


def module(name):
    spec = importlib.util.spec_from_file_location(name, EDITORS / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


FILES = module("generate").files()


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_the_script_makes(name):
    text = (EDITORS / name).read_text(encoding="utf-8")
    assert text == FILES[name], "run: python grammar/editors/generate.py"


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_every_reserved_word(name):
    assert {*re.findall(r"[a-z]+", FILES[name])} >= KEYWORDS


def test_the_patterns_of_textmate_are_patterns():
    made = json.loads(FILES["op.tmLanguage.json"])
    for rule in made["patterns"]:
        for key in {"match", "begin", "end"} & rule.keys():
            re.compile(rule[key])


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda x: x.stem)
def test_pygments_knows_every_piece_of_an_example(path):
    from pygments.token import Error, Keyword, Operator

    found = list(module("op_pygments").OpLexer().get_tokens(path.read_text()))
    assert Error not in {x for x, _ in found}
    assert "".join(x for _, x in found) == path.read_text()
    for kind, text in found:
        assert (text in KEYWORDS) == (kind in Keyword or kind is Operator.Word)
