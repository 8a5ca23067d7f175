"""The setting `memory`: a number of bytes with a unit."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from opdsl.train.config.section import FREE, nothing

UNITS = {"B": 1} | {f"{x}B": 1000**i for i, x in enumerate("kMGT", 1)}
UNITS |= {"KB": 1000} | {f"{x}iB": 1024**i for i, x in enumerate("KMGT", 1)}
EXAMPLE = 'a number and a unit, as in "8 GB", "900 MB" or "7.5 GiB"'
TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_bytes(text: str) -> int:
    """Return the bytes of a text such as `8 GB` (8 * 1000^3) or `7.5 GiB` (7.5 * 1024^3).

    Raises:
        ValueError: it is no such text, or less than one byte.
    """
    found = TEXT.fullmatch(text)
    if found is None or found[2] not in UNITS:
        raise ValueError(f"`{text}` is not {EXAMPLE}")
    size = int(float(found[1]) * UNITS[found[2]])
    if size < 1:
        raise ValueError(f"`{text}` is less than one byte")
    return size


def _limit(value: Any) -> Any:
    """Check the text; `none` is no limit."""
    if isinstance(value, str) and value != "none":
        parse_bytes(value)
        return str(value)
    return nothing(value)


Size = Annotated[str, Field(json_schema_extra={"words": EXAMPLE})]
MemoryLimit = Annotated[Size | None, BeforeValidator(_limit), FREE]
