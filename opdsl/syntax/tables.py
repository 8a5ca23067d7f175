"""The tables of the parser, generated from `grammar/op.lark` by lark.

    python -m opdsl.syntax.tables   # writes grammar/op.tables.json, after each change of op.lark

`opdsl` runs the tables of the file and does not import this module, unless the grammar has changed
since: then `opdsl.syntax.grammar` generates them anew in each process.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lark import Lark
from lark.parsers.lalr_analysis import Reduce

from opdsl import resources
from opdsl.syntax.grammar import GRAMMAR, TABLES, digest

if TYPE_CHECKING:
    from lark.grammar import Rule
    from lark.lexer import BasicLexer

STARTS = ["start", "pipe"]  # the rules for a program, and for one value


def build(grammar: str) -> dict[str, Any]:
    """Build the tables of a grammar, as numbers, texts, lists and dicts.

    Returns:
        grammar: the SHA-256 of the grammar's text.
        token: the regular expression of one token; the name of the group that matches is its kind.
        words: for each kind, the texts that are of another kind (reserved words).
        ignored: the kinds of token that the parser does not see.
        rules: origin, length, name of the node (None: its children join those of the parent),
            whether a single child takes the place of the node.
        start, end: for each rule that a whole text can be, the first state and the last.
        states: for each state and symbol the next state, or `~n` to reduce by rule number n.
    """
    lark = Lark(
        grammar,
        parser="lalr",
        lexer="basic",
        strict=True,  # refuse a grammar in which two terminals match one text
        keep_all_tokens=True,  # the span of a node goes from its first token to its last
        maybe_placeholders=False,
        start=STARTS,
    )
    table = lark.parser.parser._parse_table  # noqa: SLF001  lark has no public name for it
    states = _numbered(table.states, [table.start_states[x] for x in STARTS])
    rules = {id(x): i for i, x in enumerate(lark.rules)}
    return {
        "grammar": digest(grammar),
        **_lexer(lark.parser.lexer),
        "rules": [_rule(x) for x in lark.rules],
        "start": {x: states[table.start_states[x]] for x in STARTS},
        "end": {x: states[table.end_states[x]] for x in STARTS},
        "states": [
            {
                symbol: ~rules[id(x)] if action is Reduce else states[x]
                for symbol, (action, x) in sorted(table.states[state].items())
            }
            for state in states
        ],
    }


def _numbered(
    states: Mapping[int, Mapping[str, tuple[object, Any]]], first: list[int]
) -> dict[int, int]:
    """Number the states in a way that depends on the grammar only; lark's numbers vary by run."""
    order = dict.fromkeys(first)
    queue = deque(first)
    while queue:
        for _, (action, x) in sorted(states[queue.popleft()].items()):
            if action is not Reduce and x not in order:
                order[x] = None
                queue.append(x)
    return {x: i for i, x in enumerate(order)}


def _lexer(lexer: BasicLexer) -> dict[str, Any]:
    scanner = lexer.scanner
    (pattern,) = scanner._mres  # noqa: SLF001  more than one only for a hundred terminals
    words = {
        kind: {x.pattern.value: x.name for x in callback.scanner.terminals}  # type: ignore[attr-defined]  # lark: UnlessCallback
        for kind, callback in lexer.callback.items()
    }
    return {"token": pattern.pattern, "words": words, "ignored": sorted(lexer.ignore_types)}


def _rule(rule: Rule) -> list[Any]:
    origin = rule.origin.name
    name = None if origin.startswith("_") else rule.alias or origin
    return [origin, len(rule.expansion), name, bool(rule.options.expand1 and not rule.alias)]


def main() -> None:
    """Write the file of the tables."""
    folder = resources.root("grammar")
    tables = build((folder / GRAMMAR).read_text(encoding="utf-8"))
    (folder / TABLES).write_text(json.dumps(tables, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
