"""Bare words in bindings and constants that nothing reads: each is a known word, or a mistake.

A word such as `gelu` is understood by the parameter that takes it, which reports an unknown one.
Where no parameter ever takes it, it is compared with all words that any of them knows.
"""

from __future__ import annotations

from collections.abc import Iterator

from opdsl import blocks
from opdsl.elaborate import domains
from opdsl.elaborate.instance import Instance
from opdsl.elaborate.params import activations
from opdsl.elaborate.values import Value, Word
from opdsl.ir.block import Block, literal_words
from opdsl.syntax import tree
from opdsl.syntax.mentions import mentions


def unknown_word(inst: Instance, name: str, value: Value, owner: object) -> Word | None:
    """A word in a value that no parameter knows, or None; None too if `owner` reads the name.

    Args:
        inst: where the value was made.
        name: what the value is bound to.
        value: what it may stand in.
        owner: the definition or file that could read the name.
    """
    words = [x for x in _words(value) if x.text not in activations()]
    if not words or name in mentions(owner):
        return None
    known = _known(inst)
    return next((x for x in words if x.text not in known), None)


def _words(value: Value) -> Iterator[Word]:
    if isinstance(value, Word):
        yield value
    elif isinstance(value, tuple):
        for x in value:
            yield from _words(x)


def _known(inst: Instance) -> frozenset[str]:
    classes = (blocks.find(x) for x in blocks.names())
    ours = (y for x in classes if x is not None for y in _of_block(x))
    defined = (x for _, x in inst.module.definitions.values())
    theirs = (
        z.name.text for x in defined for y in x.body if isinstance(y, tree.Param) for z in y.type
    )
    return frozenset((*ours, *theirs, *domains.WORDS))


def _of_block(cls: type[Block]) -> Iterator[str]:
    for key in cls.model_fields:
        yield from literal_words(cls, key)
