"""Warnings on the command line: exit codes, levels, output."""

import json

import pytest

from tests.e2e.command_line import good, run

TEXT = """edition 2026

model M {
  domain D = grid(x: 0..1, boundary = periodic, min = 8)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> conv(out = 1)
}
"""


@pytest.mark.parametrize(
    ("options", "code", "severity"),
    [
        ((), 0, "warning"),
        (("--strict",), 3, "warning"),
        (("--deny", "not-convergent"), 3, "error"),
        (("--deny", "OP0412"), 3, "error"),
        (("--strict", "--warn", "not-convergent"), 3, "warning"),
    ],
)
def test_warnings_fail_only_where_that_is_asked_for(options, code, severity):
    found = run("check", "-", "--format", "json", *options, stdin=TEXT)
    assert found.exit_code == code
    told = json.loads(found.stdout)
    assert [(x["code"], x["severity"]) for x in told] == [("OP0412", severity)]


def test_an_allowed_warning_is_not_given_even_where_warnings_fail():
    assert "no faults" in good("check", "-", "--strict", "--allow", "not-convergent", stdin=TEXT)


def test_an_unknown_warning_is_a_mistake_in_the_command():
    found = run("check", "-", "--allow", "not-convergnt", stdin=TEXT)
    assert found.exit_code == 2
    assert "did you mean `not-convergent`?" in found.stderr


def test_a_warning_is_explained_by_its_name():
    assert "accept every resolution" in good("explain", "not-convergent")


def test_other_commands_go_on_with_warnings(tmp_path):
    path = tmp_path / "m.op"
    path.write_text(TEXT)
    assert "conv" in good("summary", path)
