import warnings
from pathlib import Path

import pytest

from opdsl.nn import fused
from opdsl.nn.native import library as native


@pytest.fixture(autouse=True)
def fresh():
    native.library.cache_clear()
    yield
    native.library.cache_clear()


def test_without_a_compiler_there_is_one_note_and_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="there is no C\\+\\+ compiler"):
        assert not fused.available()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fused.available()


def test_a_compiler_that_fails_leaves_nothing_behind(monkeypatch, tmp_path):
    broken = tmp_path / "bin" / "broken"
    broken.parent.mkdir()
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "error: no" >&2; exit 1; }\n')
    broken.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(broken))
    with pytest.warns(RuntimeWarning, match="error: no"):
        assert native.library() is None
    assert not [x for x in (tmp_path / "cache").rglob("*") if x.is_file()]


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("OPDSL_NATIVE", "0")
    assert native.library() is None


@pytest.mark.skipif(not fused.available(), reason="no C++ compiler here")
def test_the_library_is_compiled_once_into_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.library() is not None
    (made,) = Path(tmp_path).rglob("*.so")
    stamp = made.stat().st_mtime_ns
    native.library.cache_clear()
    assert native.library() is not None
    assert made.stat().st_mtime_ns == stamp
    assert made == native._built()
