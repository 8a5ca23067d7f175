"""The tokens that the grammar would have accepted, in words: `expected ... before ...`."""

from __future__ import annotations

from opdsl.diagnostics import Diagnostic, Help, Label
from opdsl.syntax.error_context import ErrorContext
from opdsl.syntax.scan import Piece

VALUE = frozenset(
    {"NAME", "INT", "FLOAT", "STRING", "TRUE", "FALSE", "HOLE", "LPAR", "LSQB", "ADD", "NOT", "IF"}
)
# tokens accepted wherever a value is; no message lists them
UNSAID = frozenset({"REPEAT", "RESIDUAL", "SHARED", "DOMAIN"})
OPERATOR = frozenset({"ADD", "MUL", "CMP", "AND", "OR", "RANGE"})
POSTFIX = frozenset({"DOT", "LPAR", "LSQB"})
SIGN_OF = {
    "EQUAL": "=", "COLON": ":", "COMMA": ",", "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]",
    "LBRACE": "{", "RBRACE": "}", "ARROW": "->", "PIPE": "|>", "VBAR": "|", "CIRCUMFLEX": "^",
    "DOT": ".", "RANGE": "..",
}  # fmt: skip
WORD_OF = {
    "NAME": "a name", "INT": "a whole number", "FLOAT": "a number", "STRING": "a text",
    "LONG_STRING": "a text", "CMP": "a comparison", "ADD": "`+` or `-`", "MUL": "`*` or `/`",
}  # fmt: skip


def expected(context: ErrorContext) -> Diagnostic:
    """Report what the grammar would have accepted; used where no rule recognises the error."""
    text = short(context.piece)
    words = _choices(context.accepts)
    if not words or len(words) > 3 or context.complete:
        return error(
            f"`{text}` is not expected here", Label(context.span(context.piece), "not expected")
        )
    return error(
        f"expected {_joined(words)} before `{text}`",
        Label(context.span(context.piece), "not expected"),
    )


def words(accepts: frozenset[str]) -> str:
    """Describe up to three accepted tokens: `a value or a name`."""
    return _joined(_choices(accepts)[:3]) or "more"


def _joined(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1] if words else "")))


def _choices(accepts: frozenset[str]) -> list[str]:
    """Describe the accepted tokens, without those that every expression accepts."""
    if accepts >= VALUE - {"IF"}:
        return ["a value", *(_word(x) for x in sorted(accepts - VALUE - UNSAID))]
    if accepts >= {"INT", "LBRACE"}:
        return ["a number of channels"]
    if "INPUT" in accepts:
        return ["a new statement", "`}`"]
    if "MODEL" in accepts:
        return ["`block`", "`model`", "another item"]
    if accepts >= {"NAME", "REPEAT"}:
        return ["a step"]
    kinds = accepts - OPERATOR - POSTFIX - {"CMP"}
    if kinds & {"RPAR", "RSQB", "RBRACE", "THEN", "ELSE", "LBRACE"}:
        kinds -= {"PIPE"}
    return list(dict.fromkeys(_word(x) for x in sorted(kinds or accepts)))


def _word(name: str) -> str:
    if name in SIGN_OF:
        return f"`{SIGN_OF[name]}`"
    return WORD_OF.get(name) or f"`{name.lower()}`"


def short(piece: Piece) -> str:
    """Write a piece for a message, on one line."""
    text = piece.text.split("\n")[0]
    return text if len(text) <= 40 else text[:37] + "..."


def error(
    message: str,
    *labels: Label,
    helps: tuple[Help, ...] = (),
    code: str = "OP0101",
) -> Diagnostic:
    """Build the diagnostic of a syntax error."""
    return Diagnostic(code, message, labels, helps=helps)
