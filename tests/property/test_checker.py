"""Damaged programs through the whole front end: diagnostics with places, never an exception."""

import random
import re
from pathlib import Path

import pytest

from opdsl.compiler import check
from opdsl.diagnostics import CODES, Source
from opdsl.diagnostics.carets import show
from tests.work import calls

ROOT = Path(__file__).parents[2]
FOLDERS = ("specs", "library", "examples", "tests/data/language", "tests/golden/checks")
PROGRAMS = [x.read_text("utf-8") for f in FOLDERS for x in sorted((ROOT / f).rglob("*.op"))]
PIECE = re.compile(r"\s+|[A-Za-z_]\w*|\d+\.?\d*|[^\s\w]")
WORDS = sorted({x for p in PROGRAMS for x in PIECE.findall(p) if x.strip()})
NUMBERS = ("0", "-1", "3", "0.5", "64", "1000000000", "1000000000000", "1e308")


def damaged(rng: random.Random) -> str:
    """One of the programs with one to three pieces replaced, dropped, doubled or exchanged."""
    pieces = PIECE.findall(rng.choice(PROGRAMS))
    for _ in range(rng.randint(1, 3)):
        i, j = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        match rng.choice(("word", "word", "number", "drop", "add", "exchange")):
            case "word":
                pieces[i] = rng.choice(WORDS)
            case "number":
                pieces[i] = rng.choice(NUMBERS)
            case "drop":
                pieces[i] = ""
            case "add":
                pieces[i] += f" {rng.choice(WORDS)}"
            case "exchange":
                pieces[i], pieces[j] = pieces[j], pieces[i]
    return "".join(pieces)


def survives(text: str) -> None:
    """Every diagnostic can be shown at its places; a hang meets the time limit of pytest."""
    for fault in check(Source("damaged.op", text)).diagnostics:
        assert fault.code in CODES
        assert fault.labels
        for label in fault.labels:
            assert 0 <= label.span.start <= label.span.end <= len(label.span.source.text)
        assert fault.message in show(fault)


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_program_gets_diagnostics_and_no_exception(seed):
    rng = random.Random(seed)  # noqa: S311  not for secrets
    for _ in range(100):
        survives(damaged(rng))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3, 13))
def test_many_damaged_programs_get_diagnostics_and_no_exception(seed):
    rng = random.Random(seed)  # noqa: S311  not for secrets
    for _ in range(10_000):
        survives(damaged(rng))


def test_work_grows_with_the_length_of_a_program_and_not_with_its_square():
    """Four times the lines in about four times the calls, where a square would be sixteen."""
    from benchmarks.check_rates import program

    def work(lines: int) -> int:
        text = program(lines)
        return calls(lambda: check(text).sound())

    work(100)  # what is imported and built once is not counted
    assert work(800) < 6 * work(200)
