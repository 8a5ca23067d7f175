"""The train block as a flat list of settings; what they mean is decided by who reads them.

What comes in: a parsed file. What goes out: (path, value, places) for each `key = value`. The
language does not know the keys. A train block cannot change the model: it sees no parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from opdsl.diagnostics import Diagnostic, Label, OpError, Span, did_you_mean, fault
from opdsl.elaborate import arithmetic
from opdsl.elaborate.budget import excess
from opdsl.elaborate.program import models
from opdsl.elaborate.values import Interval, Value, Word
from opdsl.ir.spaces import Domain
from opdsl.syntax import tree

KIND = "kind"  # `optimizer adamw { }` sets optimizer.kind


@dataclass(frozen=True, slots=True)
class RawSetting:
    """One value of a train block: `("optimizer", "lr")`, 1e-3, where it and each key stand."""

    path: tuple[str, ...]
    value: object
    span: Span
    keys: tuple[Span, ...]

    @property
    def key(self) -> Span:
        """Where the last key stands."""
        return self.keys[-1]


def train_block(file: tree.File, model: str) -> tree.Train | None:
    """The train block of a model, if the file has one."""
    return next((x for x in file.items if isinstance(x, tree.Train) and x.name.text == model), None)


def settings(block: tree.Train) -> tuple[RawSetting, ...]:
    """Every setting of a train block, in order.

    Raises:
        OpError: a value that is none, or a key given twice.
    """
    found = tuple(_flatten(block.body, ()))
    _distinct(found)
    return found


def check_train_blocks(file: tree.File) -> Iterator[Diagnostic]:
    """What is wrong with the train blocks, apart from the meaning of their keys."""
    names = [x.name.text for x in models(file)]
    for item in file.items:
        if not isinstance(item, tree.Train):
            continue
        if item.name.text not in names and item.name.text not in file.lost:
            yield _no_model(item, names)
        try:
            settings(item)
        except OpError as error:
            yield from error.diagnostics


def _no_model(item: tree.Train, names: list[str]) -> Diagnostic:
    return fault(
        "OP0210",
        f"this program has no model `{item.name.text}`",
        Label(item.name.span, "not found"),
        helps=did_you_mean(item.name.text, names),
    ).diagnostics[0]


def _flatten(
    body: tuple[tree.Setting | tree.SettingBlock, ...], above: tuple[tree.Ident, ...]
) -> Iterator[RawSetting]:
    for item in body:
        names = (*above, item.name)
        path, keys = tuple(x.text for x in names), tuple(x.span for x in names)
        if isinstance(item, tree.Setting):
            yield RawSetting(path, constant(item.value), item.value.span, keys)
            continue
        if item.kind:
            place = (*keys, item.name.span)
            yield RawSetting((*path, KIND), item.kind.text, item.kind.span, place)
        yield from _flatten(item.body, names)


def _distinct(found: tuple[RawSetting, ...]) -> None:
    seen: dict[tuple[str, ...], RawSetting] = {}
    for setting in found:
        if setting.path in seen:
            raise fault(
                "OP0203",
                f"`{'.'.join(setting.path)}` is set twice",
                Label(setting.key, "again here"),
                Label(seen[setting.path].key, "first here"),
            )
        seen[setting.path] = setting


def constant(expr: tree.Expr) -> object:
    """The plain value of an expression of literals: number, truth value, text, list.

    Raises:
        OpError: OP0209, it is none; OP0212, it is too large or not finite.
    """
    value = _constant(expr)
    if value is None:
        raise fault(
            "OP0209",
            "a setting is a number, a word, a text or a list of them",
            Label(expr.span, "this is not one"),
            notes=("a train block cannot see or change the model",),
        )
    return plain(value)


def plain(value: Value) -> object:
    """The value without the language's own types: words become texts, tuples become lists."""
    if isinstance(value, Word):
        return value.text
    return [plain(x) for x in value] if isinstance(value, tuple) else value


def _constant(expr: tree.Expr) -> Value | None:
    value = _evaluated(expr)
    too_large = None if value is None else excess(value)
    if too_large is not None:
        raise fault("OP0212", too_large[0], Label(expr.span, too_large[1]))
    return value


def _evaluated(expr: tree.Expr) -> Value | None:
    match expr:
        case tree.Literal():
            return expr.value
        case tree.Name():
            return Word(expr.text, expr.span)
        case tree.Sequence():
            items = [_constant(x) for x in expr.items]
            return (
                None if any(x is None for x in items) else tuple(x for x in items if x is not None)
            )
        case tree.Unary(sign="-"):
            value = _constant(expr.value)
            return None if value is None else arithmetic.negative(value)
        case tree.Binary():
            return _arithmetic(expr)
    return None


def _arithmetic(expr: tree.Binary) -> Value | None:
    left, right = _constant(expr.left), _constant(expr.right)
    if left is None or right is None:
        return None
    value = arithmetic.binary(expr.sign, left, right)
    return None if isinstance(value, Interval | Domain) else value
