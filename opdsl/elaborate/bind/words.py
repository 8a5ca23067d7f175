"""Checks of bare words in bindings and constants that nothing reads: each must be a known word.

A word such as `gelu` is understood by the parameter that takes it, which reports an unknown one.
Where no parameter ever takes it, it is compared with all words that any parameter knows.
"""

from __future__ import annotations

from collections.abc import Iterator

from opdsl import blocks
from opdsl.elaborate.bind.domains import WORDS
from opdsl.elaborate.bind.param_types import activations
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.evaluate.values import Value, Word
from opdsl.ir.block import literal_words
from opdsl.syntax import tree
from opdsl.syntax.mentions import mentions


def unknown_word(scope: NameScope, name: str, value: Value, owner: object) -> Word | None:
    """Find a word in a value that no parameter knows; None if `owner` reads the name.

    Args:
        scope: where the value was evaluated.
        name: the name that the value is bound to.
        value: the value.
        owner: the definition or file that could read the name.
    """
    words = [x for x in _words(value) if x.text not in activations()]
    if not words or name in mentions(owner):
        return None
    vocabulary = _known(scope)
    return next((x for x in words if x.text not in vocabulary), None)


def _words(value: Value) -> Iterator[Word]:
    if isinstance(value, Word):
        yield value
    elif isinstance(value, tuple):
        for x in value:
            yield from _words(x)


def _known(scope: NameScope) -> frozenset[str]:
    classes = [x for x in map(blocks.find, blocks.names()) if x is not None]
    of_blocks = (word for x in classes for key in x.model_fields for word in literal_words(x, key))
    params = (
        y
        for _, definition in scope.module.definitions.values()
        for y in definition.body
        if isinstance(y, tree.Param)
    )
    of_params = (alternative.name.text for x in params for alternative in x.type)
    return frozenset((*of_blocks, *of_params, *WORDS))
