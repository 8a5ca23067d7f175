"""Texts of bytes, and the settings that exclude a limit of memory."""

import pytest

from opdsl.diagnostics import OpError
from opdsl.setting import Setting
from opdsl.train.config.parallel_and_memory import parse_bytes
from opdsl.train.config.settings import resolve


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8 GB", 8 * 10**9),
        ("8GB", 8 * 10**9),
        ("7.5 GiB", 15 * 2**29),
        ("900 MB", 900 * 10**6),
        ("64 KiB", 2**16),
        ("1 kB", 1000),
        ("12 B", 12),
        ("0.5 TB", 5 * 10**11),
    ],
)
def test_bytes_have_a_number_and_a_unit(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["8", "GB", "8 gb", "-1 GB", "8 GBs", "0 GB", "1e3 MB", ""])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="is "):
        parse_bytes(text)


def settings(**values):
    return resolve([Setting((k,), v, "test") for k, v in values.items()]).settings


def test_the_setting_is_a_text_or_none():
    assert settings(memory="8 GB").memory == "8 GB"
    assert settings(memory="none").memory is None
    assert settings().memory is None
    with pytest.raises(OpError) as caught:
        settings(memory="8 gigabytes")
    assert [x.code for x in caught.value.diagnostics] == ["OP0604"]
    assert '"8 GB"' in str(caught.value)
    with pytest.raises(OpError):
        settings(memory=8)


def test_a_limit_chooses_what_is_computed_again():
    with pytest.raises(OpError) as caught:
        settings(memory="8 GB", recompute=True)
    assert [x.code for x in caught.value.diagnostics] == ["OP0731"]


def test_patches_bound_the_memory_by_their_number():
    patches = Setting(("patches", "parts"), 2, "test")
    with pytest.raises(OpError) as caught:
        resolve([Setting(("memory",), "8 GB", "test"), patches])
    assert [x.code for x in caught.value.diagnostics] == ["OP0731"]
    assert resolve([patches]).settings.memory is None
