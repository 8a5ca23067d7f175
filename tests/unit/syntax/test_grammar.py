"""The tables of the parser are those of the grammar, and running them is what lark would do."""

import json
import random
import shutil
from itertools import islice

import pytest
from lark import Lark, Token, UnexpectedInput, UnexpectedToken

from opdsl.resources import root
from opdsl.syntax import grammar, lalr
from opdsl.syntax.tables import STARTS, build
from opdsl.syntax.words import KEYWORDS, SIGNS
from tests.corpus import PROGRAMS

TEXT = "edition 2026\nconst A = 1\n"
GRAMMAR = (root("grammar") / grammar.GRAMMAR).read_text()
LIBRARY = sorted(root("library").glob("*.op"))


@pytest.fixture(scope="module")
def oracle():
    """The parser of lark itself, with its own lexer and its own tree."""
    return Lark(
        GRAMMAR,
        parser="lalr",
        lexer="basic",
        keep_all_tokens=True,
        maybe_placeholders=False,
        start=STARTS,
    )


@pytest.fixture
def folder(tmp_path):
    """A copy of the grammar and its tables."""
    for name in (grammar.GRAMMAR, grammar.TABLES):
        shutil.copy(root("grammar") / name, tmp_path)
    return tmp_path


def test_the_tables_in_the_repository_are_those_of_the_grammar():
    """If this fails, run `python -m opdsl.syntax.tables`."""
    stored = json.loads((root("grammar") / grammar.TABLES).read_text())
    assert stored == json.loads(json.dumps(build(GRAMMAR)))


def test_tables_of_another_grammar_are_not_used(folder):
    before = grammar.tables(folder)
    changed = GRAMMAR.replace('"edition" INT', '"year" INT')
    (folder / grammar.GRAMMAR).write_text(changed)
    made = lalr.Parser(grammar.tables(folder))
    assert made.parse("year 2026", "start").children[0].rule == "edition"
    with pytest.raises(lalr.Refused):
        lalr.Parser(before).parse("year 2026", "start")


def test_tables_of_the_present_grammar_are_used_as_they_are(folder):
    marked = json.loads((folder / grammar.TABLES).read_text()) | {"mark": 1}
    (folder / grammar.TABLES).write_text(json.dumps(marked))
    assert grammar.tables(folder) == marked


@pytest.mark.parametrize("damage", [b"", b"\xff", b'{"grammar":', None])
def test_tables_that_cannot_be_read_are_made_anew(folder, damage):
    if damage is None:
        (folder / grammar.TABLES).unlink()
    else:
        (folder / grammar.TABLES).write_bytes(damage)
    made = lalr.Parser(grammar.tables(folder))
    assert made.parse(TEXT, "start").children[0].rule == "edition"


def theirs(oracle, text, start):
    """What lark says: the tree, or the place of the error and what would have been accepted."""
    try:
        return plain(oracle.parse(text, start=start))
    except UnexpectedToken as error:
        at = None if error.token.type == "$END" else error.token.start_pos
        return at, frozenset(error.accepts)
    except UnexpectedInput as error:
        return error.pos_in_stream, frozenset()


def plain(node):
    if isinstance(node, Token):
        return (node.type, str(node), node.start_pos, node.end_pos)
    return (str(node.data), [plain(x) for x in node.children])


def ours(text, start):
    try:
        return bare(grammar.machine().parse(text, start))
    except lalr.Refused as error:
        return error.at, error.accepts


def bare(node):
    if isinstance(node, lalr.Token):
        return tuple(node)
    return (node.rule, [bare(x) for x in node.children])


@pytest.mark.parametrize("path", [*PROGRAMS, *LIBRARY], ids=lambda x: x.stem)
def test_a_program_has_the_tree_that_lark_makes(oracle, path):
    text = path.read_text()
    assert ours(text, "start") == theirs(oracle, text, "start")


def mutants():
    """Programs with a piece cut out, doubled, or replaced by a sign."""
    rng = random.Random(0)  # noqa: S311  not for secrets
    texts = [x.read_text() for x in PROGRAMS]
    while True:
        text = rng.choice(texts)[:800]
        at = rng.randrange(len(text))
        end = at + rng.randrange(1, 20)
        yield text[:at] + rng.choice(["", text[at:end] * 2, *SIGNS, "'", '"', "é"]) + text[end:]


def test_a_text_with_a_mistake_is_refused_where_lark_refuses_it(oracle):
    refused = 0
    for text in islice(mutants(), 200):
        expected = theirs(oracle, text, "start")
        assert ours(text, "start") == expected, text
        refused += isinstance(expected[1], frozenset)
    assert refused > 100


@pytest.mark.parametrize(
    "text", ["a |> f(1) |> repeat 2 { g() }", "1", "", "a b", "(1, 2", "é", "a =="]
)
def test_a_value_is_read_as_lark_reads_it(oracle, text):
    assert ours(text, "pipe") == theirs(oracle, text, "pipe")


def test_the_table_of_words_has_every_word_and_sign_of_the_grammar():
    fixed = set()
    for x in Lark(GRAMMAR, start="start").terminals:
        fixed |= {x.pattern.value} if type(x.pattern).__name__ == "PatternStr" else set()
    fixed |= {"==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%"}  # CMP, ADD and MUL
    assert fixed == KEYWORDS | {*SIGNS}
