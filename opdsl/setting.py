"""A setting: one value that a program, a file or an option gives under a dotted name."""

from __future__ import annotations

from opdsl.diagnostics import OpError, Span
from opdsl.records import value


class CallText(str):
    """The text of a call in a list of settings, `reflect(x)`, whose meaning is left to its reader.

    A setting that takes texts refuses it, unless it declares that its texts are calls.
    """

    __slots__ = ()


@value
class Setting:
    """One value, with its places in the text.

    Attributes:
        path: `("optimizer", "lr")`; `("optimizer", "kind")` for the word after a block's name.
        value: a number, a truth value, a text, None or a list of these; in a list also calls.
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
