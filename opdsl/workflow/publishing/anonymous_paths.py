"""Remove the folders of the publisher's machine from what is published; names of files stay."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from opdsl.compiler import CheckResult, train_settings
from opdsl.workflow.datasets.reading.paths import paths_in

_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


def anonymous(value: Any) -> Any:
    """Replace absolute paths in plain data by the names of the files, also within sentences."""
    return _without(value, sorted(_absolute(value), key=len, reverse=True))


def _absolute(value: Any) -> set[str]:
    """Return all absolute paths in plain data."""
    match value:
        case dict() | list():
            parts = value.values() if isinstance(value, dict) else value
            return {y for x in parts for y in _absolute(x)}
        case str():
            return {x for x in paths_in(value) if _name(x) != x}
    return set()


def _without(value: Any, paths: list[str]) -> Any:
    match value:
        case dict():
            return {k: _without(x, paths) for k, x in value.items()}
        case list():
            return [_without(x, paths) for x in value]
        case str():
            for path in paths:
                value = value.replace(path, _name(path))
    return value


def anonymous_program(text: str, checked: CheckResult) -> str:
    """Replace absolute paths in the `data` block of a program by the names of the files."""
    spans = {
        (x.span.start, x.span.end)
        for x in train_settings(checked)
        if x.span is not None and x.path[0] == "data"
    }
    for start, end in sorted(spans, reverse=True):
        value = _TEXT.sub(lambda x: f'"{_name(x[1])}"', text[start:end])
        text = text[:start] + value + text[end:]
    return text


def _name(text: str) -> str:
    """Return the name of a file that is at an absolute place; other texts stay as they are."""
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(text).is_absolute() or text.startswith("~"):
            return kind(text).name
    return text
