"""The generated reference is current, and every block and setting says what its page needs."""

import sys
from pathlib import Path

import pytest

from opdsl.reference.blocks import block_entries
from opdsl.reference.settings import setting_entries

ROOT = Path(__file__).parents[2]
BLOCKS = block_entries()


@pytest.fixture(scope="module")
def generator():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import reference
    finally:
        sys.path.pop(0)
    return reference


def test_the_pages_are_current(generator):
    wrong = generator.outdated()
    assert not wrong, f"run `{generator.COMMAND}` and commit docs/reference: {wrong}"


def test_a_changed_page_is_noticed(generator, tmp_path):
    for path, text in generator.pages().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "settings.md").write_text("old")
    (tmp_path / "more.md").write_text("")
    wrong = generator.outdated(tmp_path)
    assert [x for x in wrong if not x.endswith(".svg")] == ["more.md", "settings.md"]


@pytest.mark.parametrize("entry", BLOCKS, ids=lambda x: x.keyword)
def test_a_block_says_what_its_page_needs(entry):
    assert entry.docstring.summary.endswith("."), "the first paragraph: the formula or a sentence"
    assert entry.docstring.source, "a section `Source:`"
    documented = entry.docstring.items.get("Attributes", {})
    assert sorted(x.name for x in entry.parameters if x.name not in documented) == []
    assert entry.program, "an example program in an ```op fence"
    assert entry.used(), "the example program uses the block"


@pytest.mark.parametrize("entry", setting_entries(), ids=lambda x: x.name)
def test_a_setting_says_what_it_means(entry):
    assert entry.meaning
    assert entry.resume in {"free", "fixed", "moved"}
