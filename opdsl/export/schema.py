"""JSON schemas of a graph file, and of the parameters of every block, derived from the classes.

They are dicts of draft 2020-12, whose `$id` ends in the format of what they describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from opdsl import blocks
from opdsl.export.document import FORMAT, Document
from opdsl.ir.block import Block

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def ir_schema() -> dict[str, Any]:
    """Return the schema of the files of `opdsl ir`; a node's `params` are those of its block."""
    schema = Document.model_json_schema()
    block_schemas = blocks_schema()
    entry = schema["$defs"]["NodeEntry"]
    entry["properties"]["op"] = {"enum": sorted(block_schemas["properties"])}
    entry["allOf"] = [_params_of(x, y) for x, y in block_schemas["properties"].items()]
    schema["$defs"] |= block_schemas["$defs"]
    return with_heading("ir", FORMAT, schema)


def blocks_schema() -> dict[str, Any]:
    """Return the schema of the parameters of every block: an object with a key for each block."""
    classes = {x: y for x in blocks.names() if (y := blocks.find(x)) is not None}
    _, shared = models_json_schema([(x, "validation") for x in classes.values()])
    refs = {x: {"$ref": f"#/$defs/{y.__name__}"} for x, y in classes.items()}
    for word, cls in classes.items():
        shared["$defs"][cls.__name__] |= {"description": _first_line(cls), "title": word}
    schema = {"type": "object", "properties": refs, "additionalProperties": False}
    return with_heading("blocks", FORMAT, schema | {"$defs": shared["$defs"]})


def with_heading(name: str, version: int, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Add the dialect and the name to a schema."""
    return {"$schema": DIALECT, "$id": f"urn:opdsl:{name}:{version}", **schema}


def _params_of(word: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "if": {"properties": {"op": {"const": word}}, "required": ["op"]},
        "then": {"properties": {"params": dict(params)}},
    }


def _first_line(cls: type[Block]) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]
