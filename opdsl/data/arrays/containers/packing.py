"""Values that a file packs by the CF conventions: scale, offset, and marks for missing values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.diagnostics import fault

SCALES = ("scale_factor", "add_offset")
FILLS = ("_FillValue", "missing_value")
UNSIGNED = "_Unsigned"
NUMBERS = "iuf"


def decoded_type(
    dtype: np.dtype[Any], attributes: Mapping[str, Any], source: str = ""
) -> np.dtype[Any]:
    """Return the number format in which `decode` returns values.

    Args:
        dtype: the number format in the file.
        attributes: those of the array.
        source: the path as the user wrote it, for the message.

    Returns:
        `dtype` in this machine's byte order where nothing is packed. Otherwise float32 for floats
        of up to 32 bits and integers of up to 16, which it represents exactly, unless an offset is
        added; float64 for others.

    Raises:
        OpError: OP0610, an attribute of packing is no number.
    """
    native = dtype.newbyteorder("=")
    if dtype.kind not in NUMBERS or not _packing(attributes, source):
        return native
    if dtype.kind == "f":
        exact = dtype.itemsize <= np.dtype(np.float32).itemsize
    else:
        exact = dtype.itemsize <= np.dtype(np.int16).itemsize
    return np.dtype(np.float32 if exact and "add_offset" not in attributes else np.float64)


def decode(values: NDArray[Any], attributes: Mapping[str, Any], source: str = "") -> NDArray[Any]:
    """Unpack values: NaN where they equal a mark, else `values * scale_factor + add_offset`.

    Marks are `_FillValue` and each entry of `missing_value`; they are compared with the packed
    values. `_Unsigned = "true"` reads signed integers as unsigned ones first. Computed in float64.

    Args:
        values: as they are in the file, of any shape and byte order.
        attributes: those of the array.
        source: the path as the user wrote it, for the message.

    Returns:
        `values` in this machine's byte order and of `decoded_type`.

    Raises:
        OpError: OP0610, an attribute of packing is no number.

    Source: CF conventions 1.11, sections 2.5.1 (missing data) and 8.1 (packed data).
    """
    target = decoded_type(values.dtype, attributes, source)
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind not in NUMBERS or not _packing(attributes, source):
        return native
    unsigned = _unsigned(native.dtype, attributes)
    packed = native.view(f"u{native.itemsize}") if unsigned else native
    missing = np.zeros(packed.shape, bool)
    with np.errstate(all="ignore"):  # a mark may be outside the range of the number format
        for mark in _marks(attributes, source):
            as_unsigned = unsigned and mark < 0
            missing |= packed == (mark + 256**native.itemsize if as_unsigned else mark)
        unpacked = packed.astype(np.float64 if _scaled(attributes) else target)
        for name, combine in zip(SCALES, (np.multiply, np.add), strict=True):
            if name in attributes:
                combine(unpacked, _number(name, attributes[name], source), out=unpacked)
        unpacked[missing] = np.nan
        return unpacked.astype(target, copy=False)


def _scaled(attributes: Mapping[str, Any]) -> bool:
    return any(x in attributes for x in SCALES)


def _unsigned(dtype: np.dtype[Any], attributes: Mapping[str, Any]) -> bool:
    return dtype.kind == "i" and str(attributes.get(UNSIGNED, "")).lower() == "true"


def _packing(attributes: Mapping[str, Any], source: str) -> bool:
    """Whether attributes say that values are packed; their types are checked.

    Raises:
        OpError: OP0610, one of them is no number.
    """
    for name in SCALES:
        if name in attributes:
            _number(name, attributes[name], source)
    unsigned = str(attributes.get(UNSIGNED, "")).lower() == "true"
    return bool(_marks(attributes, source)) or _scaled(attributes) or unsigned


def _marks(attributes: Mapping[str, Any], source: str) -> list[int | float]:
    marks: list[int | float] = []
    for name in FILLS:
        value = attributes.get(name)
        entries = value if isinstance(value, list | tuple | np.ndarray) else [value]
        marks += [_number(name, x, source) for x in entries if x is not None]
    return marks


def _number(name: str, value: Any, source: str) -> int | float:
    """Convert an attribute, also a list of one number, to a Python number.

    Raises:
        OpError: OP0610, it is neither.
    """
    if isinstance(value, list | tuple | np.ndarray) and np.size(value) == 1:
        value = np.asarray(value).reshape(-1)[0]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int | float):
        return value
    raise fault(
        "OP0610",
        f"the attribute `{name}` is {str(value)[:40]!r}, expected a number",
        notes=("values cannot be unpacked without it",),
        helps=(f"remove `{name}` from the file, or write it as a number",),
        file=source,
    )
