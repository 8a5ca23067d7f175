"""The house rules that no tool checks."""

import ast
import re
from pathlib import Path

import pytest

import opdsl
from opdsl import blocks

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "opdsl").rglob("*.py"))
TESTS = "\n".join(x.read_text(encoding="utf-8") for x in (ROOT / "tests").rglob("*.py"))
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
RUNS_BYTES = {"pickle", "marshal", "shelve", "dill", "joblib"}


def test_the_public_names_are_sorted_and_exist():
    assert sorted(opdsl.__all__) == opdsl.__all__
    assert all(hasattr(opdsl, x) for x in opdsl.__all__)


@pytest.mark.parametrize("keyword", blocks.names())
def test_a_block_has_samples_and_a_page(keyword):
    block = blocks.find(keyword)
    assert block is not None
    assert block.samples
    page = block.__doc__ or ""
    assert page.splitlines()[0].endswith(".") or "=" in page.splitlines()[0]
    assert "Source:" in page or keyword in ("add", "sub", "mul", "scale", "concat", "pad", "crop")


@pytest.mark.parametrize("keyword", blocks.names())
def test_a_block_is_named_in_a_test(keyword):
    assert re.search(rf"\b{keyword}\b", TESTS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda x: str(x.relative_to(ROOT)))
def test_no_source_can_run_what_a_file_says(path):
    text = path.read_text(encoding="utf-8")
    if not any(x in text for x in RUNS_TEXT | RUNS_BYTES):
        return  # most sources; to parse all of them takes long
    tree = list(ast.walk(ast.parse(text)))
    called = {x.func.id for x in tree if isinstance(x, ast.Call) and isinstance(x.func, ast.Name)}
    imported = {y.name for x in tree if isinstance(x, ast.Import) for y in x.names}
    imported |= {x.module or "" for x in tree if isinstance(x, ast.ImportFrom)}
    assert not called & RUNS_TEXT
    assert not imported & RUNS_BYTES
