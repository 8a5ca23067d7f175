"""Types of parameters and settings in words, from their JSON schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

PLAIN = {
    "integer": "integer",
    "number": "number",
    "boolean": "`true` or `false`",
    "string": "text",
    "object": "block of keys",
    "array": "list",
}
OBJECTS = {"Domain": "domain", "Space": "space"}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def type_text(schema: Schema, definitions: Mapping[str, Schema] | None = None) -> str:
    """Describe the values that a schema accepts: `integer ≥ 0 or list of integer ≥ 0`.

    `null` stands for a parameter that is left out and is not mentioned.
    """
    definitions = definitions or {}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return OBJECTS.get(name) or type_text(definitions.get(name, {}), definitions)
    if "anyOf" in schema:
        options = (x for x in schema["anyOf"] if x.get("type") != "null")
        return " or ".join(dict.fromkeys(type_text(x, definitions) for x in options))
    if "words" in schema:
        return str(schema["words"])
    if "enum" in schema:
        return words(schema["enum"])
    if "const" in schema:
        return words([schema["const"]])
    if schema.get("type") == "array":
        return _array(schema, definitions)
    return f"{PLAIN.get(schema.get('type', ''), 'any value')}{_limits(schema)}"


def words(values: list[Any]) -> str:
    """Join words of the language, each in backticks, with commas and a last `or`."""
    literals = [f"`{_literal(x)}`" for x in values]
    return " or ".join([", ".join(literals[:-1]), literals[-1]] if len(literals) > 1 else literals)


def default_text(schema: Schema, *, required: bool) -> str:
    """Format the default as a program writes it; `required` if there is none."""
    if required:
        return "required"
    value = schema.get("default")
    return "none" if value is None else f"`{_literal(value)}`"


def _array(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    if "prefixItems" in schema:
        parts = [type_text(x, definitions) for x in schema["prefixItems"]]
        return f"({', '.join(parts)})"
    item_type = type_text(schema.get("items", {}), definitions)
    count, least = schema.get("maxItems"), schema.get("minItems")
    return f"{count} × {item_type}" if count and count == least else f"list of {item_type}"


def _limits(schema: Schema) -> str:
    limits = [f"{sign} {_number(schema[key])}" for key, sign in LIMITS.items() if key in schema]
    if schema.get("exclusiveMinimum") == 0 and schema.get("type") == "integer":
        limits = ["≥ 1", *limits[1:]]
    return f" {' and '.join(limits)}" if limits else ""


def _number(value: float) -> str:
    if isinstance(value, int) and value > 10**6 and value.bit_count() == 1:
        return f"2^{value.bit_length() - 1}"
    return f"{value:,g}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
