"""The pages of grammar/: every program in them gives exactly what is written beside it.

`# error: [OP0309] "a part of the message"` at the end of a line says what the compiler says there;
`# raises: OP0903` in a ```python fence says what it raises. A ```console fence shows what needs
the state of a machine and is not run; ```op-part is a part of a program.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from opdsl.compiler import check
from opdsl.diagnostics import CODES, OpError
from opdsl.diagnostics.carets import show
from opdsl.resources import root

FENCE = re.compile(r"^```([\w-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"# (error|warning): \[(OP\d{4})\] \"(.*)\"")
RAISES = re.compile(r"# raises: (OP\d{4})")
KINDS = {"op", "op-part", "python", "console"}


@dataclass(frozen=True)
class Fence:
    page: Path
    line: int
    kind: str
    text: str

    @property
    def name(self):
        return f"{self.page.stem}:{self.line}"

    @property
    def codes(self):
        return {x[1] for x in EXPECTED.findall(self.text)} | set(RAISES.findall(self.text))


def fences():
    for page in sorted([*(root("grammar") / "diagnostics").glob("*.md"), *chapters()]):
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            yield Fence(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def chapters():
    return (root("grammar") / "language").glob("*.md")


FENCES = tuple(fences())


def each(kind):
    return pytest.mark.parametrize(
        "fence", [pytest.param(x, id=x.name) for x in FENCES if x.kind == kind]
    )


def said(diagnostics):
    return {
        (x.severity, x.code, x.primary.span.line if x.primary else 0): x.message
        for x in diagnostics
    }


@each("op")
def test_a_program_gives_exactly_what_is_written_beside_it(fence):
    expected = {
        (severity, code, number): message
        for number, line in enumerate(fence.text.splitlines(), 1)
        for severity, code, message in EXPECTED.findall(line)
    }
    found = check(fence.text).diagnostics
    told = "\n".join(show(x) for x in found)
    assert said(found).keys() == expected.keys(), told
    assert len(found) == len(expected), told
    assert [k for k, x in expected.items() if x not in said(found)[k]] == [], told


@each("python")
def test_python_raises_exactly_what_is_written_in_it(fence, tmp_path):
    assert run(fence, tmp_path) == RAISES.findall(fence.text)


def run(fence, folder):
    """The codes that a fence raises, and that it raises them where it says."""
    import torch

    import opdsl

    here = Path.cwd()
    os.chdir(folder)
    try:
        code = compile(fence.text, fence.name, "exec")
        exec(code, {"opdsl": opdsl, "torch": torch, "tmp_path": folder})  # noqa: S102  our pages
    except OpError as error:
        return [x.code for x in error.diagnostics]
    finally:
        os.chdir(here)
    return []


def test_every_code_has_a_page_and_every_page_a_code():
    pages = {x.stem for x in (root("grammar") / "diagnostics").glob("*.md")}
    assert pages == CODES.keys()


@pytest.mark.parametrize("code", CODES)
def test_a_page_bears_the_title_of_its_code(code):
    page = root("grammar") / "diagnostics" / f"{code}.md"
    title = page.read_text(encoding="utf-8").partition("\n")[0]
    assert title == f"# {code}: {CODES[code].title}"


@pytest.mark.parametrize("code", CODES)
def test_a_page_shows_its_own_mistake_and_no_other(code):
    here = [x for x in FENCES if x.page.stem == code]
    shown = [x for x in here if x.codes or (x.kind == "console" and f"[{code}]" in x.text)]
    assert len(shown) == 1
    assert shown[0].codes <= {code}


def test_every_fence_is_of_a_known_kind():
    assert {x.kind for x in FENCES} <= KINDS
