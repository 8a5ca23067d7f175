"""Equations as names of a module: defined, imported, and refused where a name is taken."""

import pytest

from opdsl.compiler import check

MODEL = """
model M {
  domain D = grid(x: 0..1)
  input a : D -> R^1
  output u : D -> R^1
  u = a
}
train M { loss = l2 }
"""


def codes(tmp_path, text):
    (tmp_path / "laws.op").write_text("edition 2026\nequation heat(u, k = 1) = dt(u) - k * u\n")
    program = tmp_path / "program.op"
    program.write_text(f"edition 2026\n{text}{MODEL}")
    return [x.code for x in check(program).errors]


@pytest.mark.parametrize("text", ["", 'from "laws.op" import heat\n', "equation f(u) = u\n"])
def test_equations_are_defined_and_imported(tmp_path, text):
    assert codes(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("equation f(u) = u\nequation f(v) = v\n", ["OP0203"]),
        ("equation f(u) = u\nblock f { input a : R^1 output b : R^1 b = a }\n", ["OP0203"]),
        ('equation heat(u) = u\nfrom "laws.op" import heat\n', ["OP0203"]),
        ('from "laws.op" import heat\nequation heat(u) = u\n', ["OP0203"]),
        ('from "laws.op" import wave\n', ["OP0202"]),
    ],
)
def test_a_name_means_one_thing(tmp_path, text, expected):
    assert codes(tmp_path, text) == expected
