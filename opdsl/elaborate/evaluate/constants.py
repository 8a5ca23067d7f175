"""Constant expressions, made of literals only: the values of settings."""

from __future__ import annotations

from opdsl.diagnostics import Label, fault
from opdsl.elaborate.evaluate import arithmetic
from opdsl.elaborate.evaluate.limits import excess
from opdsl.elaborate.evaluate.values import Interval, Value, WordPair
from opdsl.ir.spaces import Domain
from opdsl.setting import CallText
from opdsl.syntax import tree


def constant(expr: tree.Expr) -> object:
    """Return the plain value of an expression of literals: number, truth value, text, list.

    A call such as `reflect(x)`, or arithmetic of calls, alone or in a list, stays a text, see
    `CallText`.

    Raises:
        OpError: OP0209, the expression is no constant; OP0212, it is too large or not finite.
    """
    value = _item(expr)
    if value is None:
        raise fault(
            "OP0209",
            "a setting is a number, a word, a text or a list of them",
            Label(expr.span, "this is not one"),
            notes=("a train block cannot see or change the model",),
        )
    return _as_list(value) if isinstance(value, tuple) else value


def _as_list(value: tuple[Value, ...]) -> list[object]:
    """Convert a tuple, and the tuples in it, to lists."""
    return [_as_list(x) if isinstance(x, tuple) else x for x in value]


def _constant(expr: tree.Expr) -> Value | None:
    value = _evaluated(expr)
    reason = None if value is None else excess(value)
    if reason is not None:
        raise fault("OP0212", reason[0], Label(expr.span, reason[1]))
    return value


def _evaluated(expr: tree.Expr) -> Value | None:
    match expr:
        case tree.Literal():
            return expr.value
        case tree.Name():
            return expr.text
        case tree.Sequence():
            items = [_item(x) for x in expr.items]
            values = tuple(x for x in items if x is not None)
            return values if len(values) == len(items) else None
        case tree.Unary(sign="-"):
            value = _constant(expr.value)
            return None if value is None else arithmetic.negative(value)
        case tree.Binary():
            return _arithmetic(expr)
    return None


def _item(expr: tree.Expr) -> Value | None:
    """Return the value of a setting or of an item of a list, which may be made of calls."""
    value = None if isinstance(expr, tree.Call) else _constant(expr)
    if value is not None or not _has_call(expr):
        return value
    from opdsl.syntax.unparse import expr as text_of

    return CallText(text_of(expr))


def _has_call(expr: tree.Expr) -> bool:
    """Return whether an expression is a call, or arithmetic of calls: `2 * f(u) + g(u)`."""
    match expr:
        case tree.Call():
            return True
        case tree.Unary():
            return _has_call(expr.value)
        case tree.Binary():
            return _has_call(expr.left) or _has_call(expr.right)
    return False


def _arithmetic(expr: tree.Binary) -> Value | None:
    left, right = _constant(expr.left), _constant(expr.right)
    if left is None or right is None:
        return None
    value = arithmetic.binary(expr.sign, left, right)
    return None if isinstance(value, Interval | WordPair | Domain) else value
