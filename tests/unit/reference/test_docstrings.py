"""Docstrings as data."""

from opdsl.reference.docstrings import parse_docstring

TEXT = """w = v: a sentence
on two lines.

A paragraph with `Source: none` inside.

    | a | b |

```op
edition 2026
```

Attributes:
    modes: the greatest frequency,
        kept on each axis: all of them.
    lo, hi (float): the ends.

Raises:
    OpError: OP0309, too many.

Source: Li et al. 2021,
    arXiv:2010.08895.

After the source.
"""


def test_the_summary_is_the_first_paragraph_on_one_line():
    assert parse_docstring(TEXT).summary == "w = v: a sentence on two lines."


def test_a_program_is_taken_out_of_the_prose():
    doc = parse_docstring(TEXT)
    assert doc.programs == ("edition 2026\n",)
    assert "edition" not in doc.prose
    assert "| a | b |" in doc.prose


def test_items_are_joined_and_may_share_a_text():
    items = parse_docstring(TEXT).items
    assert items["Attributes"]["modes"] == "the greatest frequency, kept on each axis: all of them."
    assert items["Attributes"]["lo"] == items["Attributes"]["hi"] == "the ends."
    assert items["Raises"] == {"OpError": "OP0309, too many."}


def test_a_source_goes_on_until_an_empty_line():
    doc = parse_docstring(TEXT)
    assert doc.source == "Li et al. 2021, arXiv:2010.08895."
    assert doc.prose.endswith("After the source.")


def test_a_source_may_continue_without_indentation():
    assert parse_docstring("x.\n\nSource: a,\nb.").source == "a, b."


def test_a_header_inside_a_fence_is_text():
    doc = parse_docstring("x.\n\n```python\nArgs: 3\n```\n")
    assert doc.items == {}
    assert "Args: 3" in doc.prose


def test_no_docstring_gives_empty_parts():
    assert parse_docstring(None).summary == ""


def test_an_indented_example_keeps_its_lines():
    doc = parse_docstring("x.\n\nExample:\n    a = 1\n    if a:\n        b = 2\n\nArgs:\n    a: b.")
    assert doc.texts["Example"] == "a = 1\nif a:\n    b = 2"
    assert doc.items["Args"] == {"a": "b."}
