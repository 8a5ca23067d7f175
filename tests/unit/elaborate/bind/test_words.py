"""Bare words and reserved words as values."""

import pytest

from opdsl.compiler import check
from tests.programs import codes, model, only

SOUND = "output u : D -> R^2\nu = gelu(a)\n"


@pytest.mark.parametrize("value", ["nosuch", "(nosuch, 3)", "[gelu, nosuch]"])
def test_an_unknown_name_behind_an_unused_one_is_an_error(value):
    found = only(model(f"{SOUND}w = {value}"))
    assert (found.code, found.message) == ("OP0201", "unknown name `nosuch`")
    assert found.severity == "error"


def test_an_unknown_name_behind_an_unused_constant_is_an_error():
    assert codes(model(SOUND, before="const c = nosuch")) == ["OP0201"]


@pytest.mark.parametrize("value", ["gelu", "soft", "periodic"])
def test_a_known_word_that_nothing_uses_is_a_warning(value):
    assert codes(model(f"{SOUND}w = {value}")) == ["OP0401"]
    assert codes(model(SOUND, before=f"const c = {value}")) == ["OP0406"]


def test_a_word_of_any_kind_may_have_a_name_of_its_own():
    text = model(
        "output u : D -> R^2\nname = rho\nu = a + static(D, fields = [name, name2])\nname2 = p"
    )
    assert codes(text) == []


def test_reserved_words_are_values_where_the_manual_says_so():
    text = model(
        "domain P = points(2, geometry = shared)\ninput b : P -> R^1\noutput w : P -> R^1\n"
        "output u : D -> R^2\nu = a |> conv(out = 2, kernel = 3, edges = domain)\n"
        "w = b |> repeat 2 shared { linear(out = 1) }"
    )
    assert {x.code for x in check(text).errors} == set()


@pytest.mark.parametrize("path", ["a\0b.op", "x" * 5000 + ".op", ".", "\x1b.op"])
def test_a_strange_path_of_an_import_is_one_diagnostic(path):
    assert codes(model(SOUND, before=f'from "{path}" import X')) == ["OP0202"]
