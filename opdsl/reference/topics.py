"""What `opdsl explain` can print: blocks, settings, formats, losses and others, by name."""

from __future__ import annotations

from collections.abc import Iterator

from opdsl import blocks
from opdsl.reference.blocks import block_entry, block_text
from opdsl.reference.registered import KINDS, Member, member_text, members
from opdsl.reference.settings import section_text, setting_entries, setting_text


def explanations(name: str) -> Iterator[str]:
    """Return the text of every topic of a name; a block and a setting may share a name."""
    entry = block_entry(name)
    if entry is not None:
        yield block_text(entry)
    settings = setting_entries()
    yield from (setting_text(x) for x in settings if x.name == name)
    inside = [x for x in settings if x.name.rpartition(".")[0] == name]
    if inside:
        yield section_text(name, inside)
    yield from (member_text(x) for x in _members() if x.name == name)


def topic_names() -> Iterator[tuple[str, str]]:
    """Yield every name that `explanations` knows, with its kind; plug-in blocks are left out."""
    yield from ((x, "a block") for x in blocks.names())
    settings = setting_entries()
    yield from ((x.name, "a setting") for x in settings)
    sections = dict.fromkeys(x.name.rpartition(".")[0] for x in settings)
    yield from ((x, "a section of settings") for x in sections if x)
    yield from ((x.name, f"a {x.kind.name}") for x in _members())


def _members() -> Iterator[Member]:
    return (x for kind in KINDS for x in members(kind))
