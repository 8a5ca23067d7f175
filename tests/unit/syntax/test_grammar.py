"""The tables of the parser are kept, and whatever happens to them does no harm."""

import os

import pytest

from opdsl import resources
from opdsl.syntax import grammar
from opdsl.syntax.words import KEYWORDS, SIGNS

TEXT = "edition 2026\nconst A = 1\n"
needs_rights = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() == 0, reason="for root every folder can be written"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "opdsl"


def made():
    """The parser as a new process would get it."""
    return grammar.machine.__wrapped__()


def reads(parser):
    return parser.parse(TEXT, start="start").children[0].data == "edition"


def test_the_tables_are_kept_for_their_owner_only(folder):
    assert reads(made())
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_tables_are_read_and_not_built_again(folder, monkeypatch):
    made()
    monkeypatch.setattr(grammar, "_built", None)
    assert reads(made())
    assert len(list(folder.iterdir())) == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("damage", [b"", b"no pickle", b"\x80\x05."])
def test_damaged_tables_are_built_anew(folder, damage):
    made()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage or whole[: len(whole) // 2])
    assert reads(made())
    assert len(file.read_bytes()) > len(whole) // 2


def test_tables_that_others_can_write_are_not_read(folder, monkeypatch):
    made()
    (file,) = folder.iterdir()
    file.chmod(0o666)
    built = []
    monkeypatch.setattr(grammar, "_built", lambda *x: built.append(x) or "built")
    assert made() == "built"


def test_a_folder_that_is_a_file_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "opdsl").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert reads(made())


@needs_rights
def test_a_folder_without_rights_does_no_harm(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert reads(made())
    tmp_path.chmod(0o700)


def test_a_machine_without_a_home_does_no_harm(monkeypatch):
    def homeless():
        raise RuntimeError

    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(grammar.Path, "home", homeless)
    assert reads(made())


def test_the_table_of_words_has_every_word_and_sign_of_the_grammar():
    from lark import Lark

    text = (resources.root("grammar") / "op.lark").read_text()
    fixed = set()
    for x in Lark(text, start="start").terminals:
        fixed |= {x.pattern.value} if type(x.pattern).__name__ == "PatternStr" else set()
    fixed |= {"==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%"}  # CMP, ADD and MUL
    assert fixed == KEYWORDS | {*SIGNS}
