"""The table of published architectures agrees with the programs beside it."""

import re

import pytest

from opdsl import blocks
from opdsl.compiler import check
from opdsl.resources import root
from opdsl.syntax.printer import format_text

TABLE = (root("grammar") / "coverage.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (?P<name>[^|]+) \| (?P<verdict>[^|]+) \| (?:\[(?P<program>\w+)\][^|]*)?\|", re.MULTILINE
)
ROWS = [
    x.groupdict() for x in ROW.finditer(TABLE) if x["name"].strip("- ") not in ("architecture", "")
]
EXACT = [x["program"] for x in ROWS if x["verdict"] == "exact"]
PLUGGED = {x["program"]: x["verdict"].split("`")[1] for x in ROWS if "plug-in" in x["verdict"]}


def text(program: str) -> str:
    return (root("grammar") / "coverage" / f"{program}.op").read_text(encoding="utf-8")


@pytest.mark.parametrize("program", EXACT)
def test_an_exact_program_checks_without_a_fault(program):
    assert [x.message for x in check(text(program)).diagnostics] == []


@pytest.mark.parametrize("program", PLUGGED)
def test_a_program_with_a_plug_in_lacks_that_block_and_nothing_else(program):
    found = check(text(program)).errors
    assert {x.code for x in found} == {"OP0201"}
    assert {x.message for x in found} == {f"unknown operator `{PLUGGED[program]}`"}
    assert blocks.find(PLUGGED[program]) is None


@pytest.mark.parametrize("program", [*EXACT, *PLUGGED])
def test_a_program_is_laid_out(program):
    assert format_text(text(program), program) == text(program)


def test_the_table_has_every_program_and_counts_its_lines():
    programs = {x.stem for x in (root("grammar") / "coverage").glob("*.op")}
    assert {x["program"] for x in ROWS if x["program"]} == programs
    rest = len(ROWS) - len(EXACT) - len(PLUGGED)
    assert rest == sum(x["verdict"] == "not expressible" for x in ROWS)
    line = (
        f"Of {len(ROWS)} architectures: {len(EXACT)} exact, {len(PLUGGED)} with a plug-in block, "
    )
    assert line + f"{rest} not expressible." in TABLE
