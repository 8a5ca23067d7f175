"""The messages of the checker, word for word: each `checks/NAME.op` has its `NAME.txt`."""

from pathlib import Path

import pytest

from opdsl.compiler import check
from opdsl.diagnostics import Source
from opdsl.diagnostics.carets import show

FOLDER = Path(__file__).parent / "checks"
PROGRAMS = sorted(FOLDER.glob("*.op"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda x: x.stem)
def test_a_wrong_program_gets_exactly_this_message(program, golden):
    source = Source(program.name, program.read_text(encoding="utf-8"))
    said = "\n\n".join(show(x) for x in check(source, folder=FOLDER).diagnostics)
    golden(said + "\n", f"checks/{program.stem}.txt")


def test_every_message_has_its_program():
    assert {x.stem for x in FOLDER.glob("*.txt")} == {x.stem for x in PROGRAMS}
