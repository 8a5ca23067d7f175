"""Text from files cannot steer a terminal."""

import json
import subprocess
import sys

import pytest

from opdsl.diagnostics.terminal import json_safe, printable
from tests.e2e.command_line import TINY, environment, run

STEERING = "\x1b]0;title\x07\x1b[31mred\x9b2J\u202eback\u2069\u2028\u200b\r"
RAW = [x for x in STEERING if not x.isprintable()]


def test_what_steers_a_terminal_is_shown_as_signs():
    shown = printable(f"a{STEERING}b\n\tc")
    assert not any(x in shown for x in RAW)
    assert shown.startswith("a\u241b]0;title\u2407")
    assert shown.endswith("b\n\tc")


@pytest.mark.parametrize("text", ["plain", "Grüße ×4 · → 文字 é", "a\tb\n", ""])
def test_other_text_stays_as_it_is(text):
    assert printable(text) == text


def test_json_keeps_its_meaning():
    text = json.dumps({"name": STEERING, "é": 1}, ensure_ascii=False)
    safe = json_safe(text)
    assert json.loads(safe) == {"name": STEERING, "é": 1}
    assert not any(x in safe for x in RAW)


HOSTILE = TINY.replace("model Tiny", 'model Tiny "\u202e\x1b[31m\x9b2J"', 1).replace(
    '"small enough for a test" ', ""
)


@pytest.mark.parametrize(
    "command",
    ["check", "summary", "ir", "render", "explain", "fingerprint", "fmt --check", "check -f json"],
)
def test_no_command_passes_on_what_a_program_says_to_the_terminal(command, tmp_path):
    path = tmp_path / "p\x1b[31m.op"
    path.write_text(HOSTILE, "utf-8")
    ran = run(*command.split(), path)
    assert "Traceback" not in ran.stderr
    assert not any(x in ran.stdout + ran.stderr for x in RAW)


@pytest.mark.parametrize("command", ["check", "fmt", "summary", "ir", "render", "fingerprint"])
def test_a_closed_stdin_is_a_wrong_use(command):
    code = (
        "import sys; sys.stdin = None; from opdsl.cli import main; "
        f"sys.argv = ['opdsl', '{command}', '-']; main()"
    )
    ran = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment()
    )
    assert ran.returncode == 2
    assert "stdin, which is closed" in ran.stderr
