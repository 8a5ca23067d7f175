"""The parameters of a block as short texts for drawings and tables: `modes = 16×16`, `gelu`."""

from __future__ import annotations

from opdsl.ir.block import Block
from opdsl.ir.graph import Node
from opdsl.ir.spaces import Domain, Space

BARE = frozenset({"act", "kind"})  # shown without their names: the values are clear alone
SILENT = frozenset({"bias", "domain"})  # left out: they matter only on a closer look


def telling(node: Node, x: tuple[Space, ...]) -> tuple[str, ...]:
    """Return the parameters that differ from their defaults as texts, in the block's order.

    Args:
        node: the node.
        x: the spaces of its inputs; a domain that is one of theirs is left out.
    """
    fields = type(node.block).model_fields
    values = ((name, getattr(node.block, name), field.default) for name, field in fields.items())
    changes = ((n, v) for n, v, default in values if v != default and n not in SILENT)
    labels = {y.domain.label for y in x}
    return tuple(
        _assignment(n, v) for n, v in changes if not (isinstance(v, Domain) and v.label in labels)
    )


def parameters(block: Block) -> dict[str, str]:
    """Map the name of every parameter of a block to its value as text."""
    return {name: value_text(getattr(block, name)) for name in type(block).model_fields}


def value_text(value: object) -> str:
    """Write a value for a person: `16×16` for (16, 16), `D/2` for a domain."""
    if isinstance(value, Domain):
        return value.label
    if isinstance(value, tuple | list):
        return "×".join(value_text(x) for x in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _assignment(name: str, value: object) -> str:
    return value_text(value) if name in BARE else f"{name} = {value_text(value)}"
