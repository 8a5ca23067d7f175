"""The LALR(1) parser: tables in, concrete syntax tree out.

lark makes the tables of `grammar/op.lark` (`opdsl.syntax.tables`). Running them does not need lark,
whose import would be an eighth of the work of `opdsl check`.

Source: Aho, Lam, Sethi, Ullman 2006, Compilers, section 4.6.3 (the driver of an LR parser).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

END = "$END"  # the kind of the token that marks the end of the text


class Token(NamedTuple):
    """A terminal of the grammar, `text[start:end]`."""

    kind: str
    text: str
    start: int
    end: int


class ParseNode(NamedTuple):
    """A node of the concrete tree: a rule of the grammar (or its alias) and its children."""

    rule: str
    children: list[Any]  # nodes and tokens


class Refused(Exception):  # noqa: N818  an answer about a text, which becomes a diagnostic
    """The grammar does not accept a text.

    Attributes:
        at: the offset of the character or token that is not accepted; None at the end of the text.
        accepts: the kinds of token that would be accepted; empty if no token begins here.
    """

    def __init__(self, at: int | None, accepts: frozenset[str] = frozenset()) -> None:
        super().__init__(at, accepts)
        self.at, self.accepts = at, accepts


class Parser:
    """Runs the tables of one grammar; see `opdsl.syntax.tables.build` for their form."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self._token = re.compile(tables["token"]).match
        self._words: dict[str, dict[str, str]] = tables["words"]
        self._ignored = frozenset(tables["ignored"])
        self._rules: list[tuple[str, int, str | None, bool]] = tables["rules"]
        self._start: dict[str, int] = tables["start"]
        self._end: dict[str, int] = tables["end"]
        self._states: list[dict[str, int]] = tables["states"]

    def parse(self, text: str, start: str) -> ParseNode:
        """Parse a text into its concrete tree.

        Args:
            start: the rule that the whole text must match.

        Raises:
            Refused: the text is not in the language.
        """
        states, end = [self._start[start]], self._end[start]
        values: list[Any] = []
        for token in self.tokens(text):
            while (action := self._states[states[-1]].get(token.kind)) is not None and action < 0:
                self._reduce(~action, states, values)
                if token.kind == END and states[-1] == end:
                    tree: ParseNode = values[-1]
                    return tree
            if action is None:
                at = None if token.kind == END else token.start
                raise Refused(at, self._accepted(states, end))
            states.append(action)
            values.append(token)
        raise AssertionError("the end of a text is accepted or refused")

    def tokens(self, text: str) -> Iterator[Token]:
        """Yield the tokens that the parser sees; the last one is `END`."""
        at, size = 0, len(text)
        while at < size:
            match = self._token(text, at)
            if match is None:
                raise Refused(at)
            kind, word, begin, at = match.lastgroup or "", match[0], at, match.end()
            if kind not in self._ignored:
                words = self._words.get(kind)
                yield Token(words.get(word, kind) if words else kind, word, begin, at)
        yield Token(END, "", size, size)

    def _reduce(self, number: int, states: list[int], values: list[Any]) -> None:
        """Replace the values of a rule's right side on the stack by the one of its left side."""
        origin, length, name, transparent = self._rules[number]
        first = len(values) - length
        children = []
        for value in values[first:]:
            if isinstance(value, list):  # the children of a rule that has no node of its own
                children += value
            else:
                children.append(value)
        del values[first:], states[first + 1 :]
        states.append(self._states[states[-1]][origin])
        if name is None:
            values.append(children)
        else:
            alone = transparent and len(children) == 1
            values.append(children[0] if alone else ParseNode(name, children))

    def _accepted(self, states: list[int], end: int) -> frozenset[str]:
        """Return the kinds of token that may follow."""
        kinds = (x for x in self._states[states[-1]] if x.isupper())
        return frozenset(x for x in kinds if self._may_follow(x, list(states), end))

    def _may_follow(self, kind: str, states: list[int], end: int) -> bool:
        """Return whether the reductions before a token lead to a state that accepts it."""
        while (action := self._states[states[-1]].get(kind)) is not None and action < 0:
            origin, length, _, _ = self._rules[~action]
            del states[len(states) - length :]
            states.append(self._states[states[-1]][origin])
            if kind == END and states[-1] == end:
                return True
        return action is not None
