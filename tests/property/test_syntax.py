"""Generated and damaged programs: the parser, the printer and recovery keep their promises."""

import random
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark

from opdsl import resources
from opdsl.diagnostics import Source, Span
from opdsl.diagnostics.carets import show
from opdsl.syntax.parser import parse
from opdsl.syntax.printer import format_text, print_file
from opdsl.syntax.scan import pieces

PROGRAMS = sorted((Path(__file__).parents[1] / "data" / "language").glob("*.op"))
MUTATIONS = 800
SLOW_MUTATIONS = 100_000

PADS = (
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\n  ",
    "\n\n",
    "\n \n\n",
    "\r\n",
    "\t",
    " # c{}\n",
    "\n  # d{}\n",
)
VALUES = {
    "NAME": ("a", "b", "D", "R", "width", "a_rather_long_name_of_a_thing"),
    "INT": ("0", "16", "2026"),
    "FLOAT": ("0.5", "1e-3", "12.25e+2"),
    "STRING": ('""', '"text"', r'"a \"b\" \\ \n"', '"where # is no comment"', '"é場"'),
    "LONG_STRING": ('"""text"""', '"""two\n  lines"""', '"""a "quoted" # word"""', '""""""'),
    "CMP": ("==", "!=", "<=", ">=", "<", ">"),
    "ADD": ("+", "-"),
    "MUL": ("*", "/", "%"),
}


def programs():
    """Items of the grammar, with blanks and comments before every terminal."""
    from lark import Lark

    text = (resources.root("grammar") / "op.lark").read_text()
    grammar = Lark(text, start="start", parser="lalr", lexer="basic")

    def rule(name):
        used, _, _ = grammar.grammar.compile([name], ())
        explicit = {x.name: padded(x) for x in used}
        explicit |= {"WS": st.just(" "), "COMMENT": st.just(" ")}
        return from_lark(grammar, start=name, explicit=explicit)

    def several(strategy, size):
        return st.lists(strategy, min_size=1, max_size=size).map("".join)

    statements = several(st.one_of(rule("bind"), rule("bind_typed"), rule("domain")), 5)
    blocks = st.builds("\nblock B{{{}\n}}".format, statements)
    return several(st.one_of(rule("item"), blocks, blocks), 3).map("edition 2026".__add__)


def padded(terminal):
    words = VALUES.get(terminal.name) or (terminal.pattern.value,)
    pads = st.builds(str.format, st.sampled_from(PADS), st.integers(0, 99))
    return st.builds(str.__add__, pads, st.sampled_from(words))


PROGRAM = programs()


def bare(node):
    """A tree without its spans."""
    if is_dataclass(node):
        kept = [x.name for x in fields(node) if x.type not in ("Span", "Source")]
        return (type(node).__name__, *(bare(getattr(node, x)) for x in kept))
    return tuple(map(bare, node)) if isinstance(node, tuple) else node


def read(text):
    file, faults = parse(Source("f.op", text))
    assert not faults, show(faults[0])
    return bare(file)


def words(text):
    """Everything but the white space, comments included."""
    found = pieces(text.replace("\r\n", "\n"))
    return [x.text.rstrip() if x.kind == "comment" else x.text for x in found]


def laid_out_well(text):
    once = format_text(text, "f.op")
    assert words(once) == words(text)
    assert read(once) == read(text)
    assert format_text(once, "f.op") == once
    assert not any(x != x.rstrip() for x in once.split("\n") if '"' not in x)


def printed_well(text):
    file, faults = parse(Source("f.op", text))
    assert not faults
    assert read(print_file(file)) == bare(file)


quick = settings(
    max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
long = settings(quick, max_examples=5000)


@quick
@given(PROGRAM)
def test_a_program_keeps_its_words_and_its_tree_when_it_is_laid_out_or_printed(text):
    laid_out_well(text)
    printed_well(text)


@pytest.mark.slow
@long
@given(PROGRAM)
def test_many_programs_are_laid_out_and_printed_well(text):
    laid_out_well(text)
    printed_well(text)


# ---------------------------------------------------------------- longer random programs


# the rules of operators, each of which most often says "the next one"
LADDER = ("expr", "range", "or_e", "and_e", "not_e", "cmp", "sum", "prod", "sign")


class Walk:
    """Random programs by a walk through the rules of the grammar, larger than Hypothesis makes."""

    def __init__(self):
        from lark import Lark

        text = (resources.root("grammar") / "op.lark").read_text()
        grammar = Lark(text, start="start", parser="lalr", lexer="basic")
        self.words = {x.name: VALUES.get(x.name) or (x.pattern.value,) for x in grammar.terminals}
        self.rules = {}
        for x in grammar.rules:
            self.rules.setdefault(x.origin.name, []).append([y.name for y in x.expansion])
        self.depth = self.depths()

    def depths(self):
        """The least number of rules inside each other that end in words."""
        depth = dict.fromkeys(self.words, 0)
        while len(depth) < len(self.words) + len(self.rules):
            for name, ways in self.rules.items():
                known = [
                    max((depth[y] for y in x), default=0) for x in ways if depth.keys() >= {*x}
                ]
                if known and name not in depth:
                    depth[name] = 1 + min(known)
        return depth

    def text(self, rng, name, room):
        """A text of a rule; without room, or when there is much, the shortest way is taken."""
        if name in self.words:
            self.made += 1
            return rng.choice(PADS).format(rng.randrange(100)) + rng.choice(self.words[name])
        ways = self.rules[name]
        if room <= 0 or self.made > self.most:
            needs = [max((self.depth[y] for y in x), default=0) for x in ways]
            ways = [x for x, y in zip(ways, needs, strict=True) if y == min(needs)]
        elif name.startswith("__"):  # several statements or arguments
            ways = [x for x in ways if len(x) > 1] if rng.random() < 0.7 else ways
        elif name in LADDER and rng.random() < 0.8:
            ways = [x for x in ways if len(x) == 1]
        return "".join(self.text(rng, x, room - 1) for x in rng.choice(ways))

    def program(self, rng):
        self.made, self.most = 0, rng.choice((20, 60, 200))
        items = [self.text(rng, "item", 30) for _ in range(rng.randint(1, 3))]
        return "edition 2026" + "".join(items)


def random_programs(count, seed):
    walk = Walk()
    rng = random.Random(seed)  # noqa: S311  not for secrets
    found = (walk.program(rng) for _ in range(10 * count))
    return [x for x in found if 100 < len(x) < 3000][:count]


def test_a_longer_program_keeps_its_words_and_its_tree_when_it_is_laid_out_or_printed():
    texts = random_programs(80, seed=0)
    assert len(texts) == 80
    for x in texts:
        laid_out_well(x)
        printed_well(x)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1, 6))
def test_many_longer_programs_are_laid_out_and_printed_well(seed):
    for x in random_programs(4000, seed):
        laid_out_well(x)
        printed_well(x)


# ------------------------------------------------------------------- damaged programs

SCRAPS = (
    *"{}()[]=:,.^|+-*/%<>_#\"'$;é\t\n\x00\u202e", "|>", "->", "..", "==", '"""', " ", "\n\n", "if ",
    "model ", "block X {", "input ", "param ", " = ", "repeat ", "else", "1e999", "edition ",
)  # fmt: skip


def damaged(text, rng):
    """The text with one to four cuts, insertions, copies or swaps."""
    for _ in range(rng.randint(1, 4)):
        a, b = sorted(rng.choices(range(len(text) + 1), k=2))
        b = min(b, a + rng.choice((1, 1, 3, 20, 200)))
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:a] + text[b:]
        elif kind == 1:
            text = text[:a] + rng.choice(SCRAPS) + text[a:]
        elif kind == 2:
            text = text[:b] + text[a:b] + text[b:]
        else:
            lines = text.split("\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
    return text


def spans(node):
    if isinstance(node, Span):
        yield node
    elif is_dataclass(node) and not isinstance(node, Source):
        for x in fields(node):
            yield from spans(getattr(node, x.name))
    elif isinstance(node, tuple):
        for x in node:
            yield from spans(x)


def reads_whatever_it_is(text):
    source = Source("f.op", text)
    file, faults = parse(source)
    for span in (*spans(file), *spans(faults)):
        assert 0 <= span.start <= span.end <= len(text)
        assert span.source is source
    for x in faults:
        assert x.labels
        show(x, width=80)
    assert file.items or faults or not text.strip()


def damage(count, seed):
    rng = random.Random(seed)  # noqa: S311  not for secrets
    texts = [x.read_text() for x in PROGRAMS]
    for _ in range(count):
        reads_whatever_it_is(damaged(rng.choice(texts), rng))


def test_a_damaged_program_is_read_and_all_spans_lie_inside_it():
    damage(MUTATIONS, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_many_damaged_programs_are_read(seed):
    damage(SLOW_MUTATIONS, seed)


@quick
@given(st.text())
def test_any_text_is_read(text):
    reads_whatever_it_is(text)
