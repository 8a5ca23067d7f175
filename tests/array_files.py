"""What every reader of arrays is asked in tests: all values, or one diagnostic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from opdsl.data.arrays.reading import open_arrays
from opdsl.diagnostics import OpError


def read_all(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of a file; each has the shape and the number format that is listed."""
    with open_arrays(path, str(path)) as file:
        values = {k: file.read(k) for k in file.arrays}
        for k, x in values.items():
            assert (x.shape, x.dtype) == (file.arrays[k].shape, file.arrays[k].dtype)
    return values


def refused(path: Path, code: str = "OP0610") -> str:
    """The text of the single diagnostic about a file that cannot be read."""
    with pytest.raises(OpError) as caught:
        read_all(path)
    (one,) = caught.value.diagnostics
    assert (one.code, one.file) == (code, str(path))
    return str(caught.value)
