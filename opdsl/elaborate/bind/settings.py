"""The train block as a flat list of settings, whose meaning is left to their readers.

The language does not know the keys. A train block cannot change the model: it sees no parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.diagnostics import Diagnostic, Label, OpError, did_you_mean, fault
from opdsl.elaborate.bind.modules import models
from opdsl.elaborate.evaluate.constants import constant
from opdsl.setting import Setting
from opdsl.syntax import tree

KIND = "kind"  # `optimizer adamw { }` sets optimizer.kind


def train_block(file: tree.File, model: str) -> tree.Train | None:
    """Return the train block of a model, or None if the file has none."""
    return next((x for x in file.items if isinstance(x, tree.Train) and x.name.text == model), None)


def settings(block: tree.Train) -> tuple[Setting, ...]:
    """List every setting of a train block, in order.

    Raises:
        OpError: OP0209 or OP0212, a value is no constant; OP0203, a key is set twice.
    """
    flat = tuple(_flatten(block.body, ()))
    _check_distinct(flat)
    return flat


def check_train_blocks(file: tree.File) -> Iterator[Diagnostic]:
    """Check the train blocks of a file, apart from the meaning of their keys."""
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
) -> Iterator[Setting]:
    for item in body:
        names = (*above, item.name)
        path, keys = tuple(x.text for x in names), tuple(x.span for x in names)
        if isinstance(item, tree.Setting):
            yield Setting(path, constant(item.value), _origin(item), item.value.span, keys)
            continue
        if item.kind:
            place = (*keys, item.name.span)
            yield Setting((*path, KIND), item.kind.text, _origin(item), item.kind.span, place)
        yield from _flatten(item.body, names)


def _origin(item: tree.Setting | tree.SettingBlock) -> str:
    return f"train block {item.name.span.source.name}:{item.name.span.line}"


def _check_distinct(flat: tuple[Setting, ...]) -> None:
    first: dict[tuple[str, ...], Setting] = {}
    for setting in flat:
        if setting.path in first:
            raise fault(
                "OP0203",
                f"`{'.'.join(setting.path)}` is set twice",
                Label(setting.keys[-1], "again here"),
                Label(first[setting.path].keys[-1], "first here"),
            )
        first[setting.path] = setting
