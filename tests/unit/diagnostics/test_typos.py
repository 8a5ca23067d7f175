"""A thousand synthetic typos of the language's own words, each among the words of its place."""

import random
import string
from typing import get_args

import pytest

from opdsl import blocks
from opdsl.diagnostics.codes import CODES
from opdsl.diagnostics.suggest import nearest
from opdsl.elaborate.bind.domains import BOUNDARIES, CONSTRUCTORS, GRID, SAMPLINGS
from opdsl.train.config.schema import Settings

ENOUGH = 0.97


def vocabularies() -> list[list[str]]:
    """The words that can stand in each kind of place."""
    operators = [*blocks.names(), "FourierLayer", "FNOBlock", "Lift", "Project", "ChannelMLP"]
    parameters = [list(blocks.find(k).model_fields) for k in blocks.names()]
    words = [
        [y for x in get_args(f.annotation) for y in (get_args(x) or (x,)) if isinstance(y, str)]
        for k in blocks.names()
        for f in blocks.find(k).model_fields.values()
    ]
    slugs = [x.slug for x in CODES.values() if x.slug]
    rest = [list(BOUNDARIES), list(SAMPLINGS), list(CONSTRUCTORS), list(GRID), slugs]
    return [x for x in (operators, *parameters, *words, *rest, list(Settings.model_fields)) if x]


def slip(word: str, rng: random.Random) -> str:
    """One letter replaced, dropped, added or exchanged with the next, or the case forgotten."""
    i = rng.randrange(len(word))
    letter = rng.choice(string.ascii_lowercase)
    match rng.choice(("replace", "drop", "add", "exchange", "case")):
        case "replace":
            return word[:i] + letter + word[i + 1 :]
        case "drop":
            return word[:i] + word[i + 1 :]
        case "add":
            return word[:i] + letter + word[i:]
        case "exchange":
            return word[:i] + word[i : i + 2][::-1] + word[i + 2 :]
    return word.replace("_", "") if "_" in word else word.swapcase()


def typos(count: int):
    """(typo, what was meant, the words of the place); a typo that is itself a word is none."""
    rng = random.Random(0)  # noqa: S311  not for secrets
    places = vocabularies()
    while count:
        known = rng.choice(places)
        meant = rng.choice(known)
        typo = slip(meant, rng)
        # of a word of two letters a slip leaves nothing to recognise
        if typo not in known and len(meant) >= 3:
            count -= 1
            yield typo, meant, known


def test_at_least_97_of_100_typos_are_recognised():
    found = [(t, m, nearest(t, known)) for t, m, known in typos(1000)]
    wrong = [x for x in found if x[1] != x[2]]
    assert len(wrong) <= (1 - ENOUGH) * 1000, wrong


@pytest.mark.parametrize("word", ["zzz", "banana", "q", "____", "0", "x" * 300])
def test_a_word_that_is_like_none_gets_no_suggestion(word):
    assert nearest(word, blocks.names()) is None
