"""No behaviour depends on an assert: the same diagnostics under `python -O`, which removes them."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from opdsl.compiler import check
from tests.e2e.command_line import DARCY, environment
from tests.language.test_pages import FENCES
from tests.programs import model

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "opdsl").rglob("*.py"))
SELF = "output u : D -> R^2\n"
WRONG = [
    model(SELF + f"u = a |> {stage}")
    for stage in (
        "linear(out = int((4, 3)))",
        "linear(out = max(a = 4, b = 3))",
        "linear(out = max(4))",
        "linear(out = int())",
        "linear(out = abs(true))",
        "linear(out = round(gelu))",
        'linear(out = float("4"))',
        "spectral_conv(out = 2, modes = int((4, 3)))",
        "spectral_conv(out = 2, modes = (1, 2, 3))",
        "linear(out = min(1..2, 3))",
        "linear(2)",
        "nosuch()",
        "linear(out = -1)",
        "conv(out = 2, kernel = 2)",
        "attention(heads = 3)",
    )
]
PAGES = [x.text for x in FENCES if x.kind == "op"]
INSIDE = """
import json, sys
from opdsl.compiler import check

assert False  # this process runs without asserts
texts = json.load(sys.stdin)
json.dump([[x.code for x in check(text).diagnostics] for text in texts], sys.stdout)
"""


def optimised(*arguments, stdin=""):
    """A process of this interpreter without asserts."""
    return subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-O", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(),
    )


def test_wrong_programs_are_wrong():
    assert all(check(text).errors for text in WRONG)


def test_every_program_gives_the_same_codes_without_asserts():
    texts = [*WRONG, *PAGES]
    ran = optimised("-c", INSIDE, stdin=json.dumps(texts))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found == [[x.code for x in check(text).diagnostics] for text in texts]


def slow(arguments, code):
    return pytest.param(arguments, code, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check", DARCY], 0),
        (["check", "-"], 3),
        (["check", "--deny", "nosuch", DARCY], 2),
        slow(["summary", DARCY, "--at", "x=3"], 3),
        slow(["summary", DARCY, "--at", "x=64,y=64"], 0),
        slow(["fmt", "--check", DARCY], 0),
        slow(["explain", "OP0208"], 0),
        (["summary", DARCY, "--set", "model.modes=int((4, 3))"], 3),
    ],
)
def test_commands_end_with_the_same_code_without_asserts(arguments, code):
    ran = optimised("-m", "opdsl", *arguments, stdin=WRONG[0])
    with_asserts = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-m", "opdsl", *map(str, arguments)],
        input=WRONG[0],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(),
    )
    assert ran.returncode == with_asserts.returncode
    assert ran.returncode == code
    assert ran.stdout == with_asserts.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda x: str(x.relative_to(ROOT)))
def test_no_source_catches_the_failure_of_an_assert(path):
    """But for the guards of torch's exports, which are asserts; these are refused under -O."""
    text = path.read_text(encoding="utf-8")
    guards = path.name == "trace.py"
    if "AssertionError" not in text:  # most sources; to parse all of them takes long
        assert not guards
        return
    tree = ast.walk(ast.parse(text))
    caught = [x for x in tree if isinstance(x, ast.ExceptHandler) and x.type is not None]
    names = {y.id for x in caught for y in ast.walk(x.type) if isinstance(y, ast.Name)}
    assert ("AssertionError" in names) == guards
