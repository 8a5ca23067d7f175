"""A setting: one value that a program, a file or an option gives under a dotted name."""

from __future__ import annotations

from opdsl.diagnostics import OpError, Span
from opdsl.records import value


@value
class Setting:
    """One value, with its places in the text.

    Attributes:
        path: `("optimizer", "lr")`; `("optimizer", "kind")` for the word after a block's name.
        value: a number, a truth value, a text, None or a list of these.
        origin: `train block specs/fno_darcy.op:31`, `run.yaml:4`, `--set`.
        span: place of the value.
        keys: place of each key of the path.
        invalid: why the text is no value of the language, where it is none; None otherwise.
    """

    path: tuple[str, ...]
    value: object
    origin: str
    span: Span | None = None
    keys: tuple[Span, ...] = ()
    invalid: OpError | None = None
