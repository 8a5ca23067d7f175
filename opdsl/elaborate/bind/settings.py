"""The train block as a flat list of settings; what they mean is decided by who reads them.

The language does not know the keys. A train block cannot change the model: it sees no parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from opdsl.diagnostics import Diagnostic, Label, OpError, Span, did_you_mean, fault
from opdsl.elaborate.bind.modules import models
from opdsl.elaborate.evaluate.constants import constant
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
        OpError: OP0209 or OP0212, a value is no constant; OP0203, a key is set twice.
    """
    flat = tuple(_flatten(block.body, ()))
    _check_distinct(flat)
    return flat


def check_train_blocks(file: tree.File) -> Iterator[Diagnostic]:
    """Diagnostics of the train blocks, apart from the meaning of their keys."""
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


def _check_distinct(flat: tuple[RawSetting, ...]) -> None:
    seen: dict[tuple[str, ...], RawSetting] = {}
    for setting in flat:
        if setting.path in seen:
            raise fault(
                "OP0203",
                f"`{'.'.join(setting.path)}` is set twice",
                Label(setting.key, "again here"),
                Label(seen[setting.path].key, "first here"),
            )
        seen[setting.path] = setting
