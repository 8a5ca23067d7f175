"""Every complete model in `specs/` checks without a warning and has its golden certificate."""

import pytest

from opdsl import resources
from opdsl.compiler import check, read
from opdsl.syntax.printer import format_text
from tests.golden.test_certificates import told

SPECS = sorted(resources.root("specs").glob("*.op"))


@pytest.mark.parametrize("path", SPECS, ids=lambda x: x.stem)
def test_a_spec_checks_and_has_this_certificate(path, golden):
    source, folder = read(path)
    checked = check(source, folder=folder)
    assert [x.message for x in checked.diagnostics] == []
    golden(told(checked.sound()), f"certificates/specs/{path.stem}.txt")


@pytest.mark.parametrize("path", SPECS, ids=lambda x: x.stem)
def test_a_spec_names_its_source_and_prints_as_itself(path):
    text = path.read_text(encoding="utf-8")
    assert "# Source: " in text
    assert format_text(text, path.name) == text
