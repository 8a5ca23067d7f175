"""Tables that a layer needs once for each grid, and keeps."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def eager_cached(
    most: int,
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Remember the `most` latest results, but none that a tracer sees: its tensors are empty."""

    def decorate(make: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        kept = lru_cache(maxsize=most)(make)

        @wraps(make)
        def table(*args: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
            if torch.compiler.is_compiling():
                return make(*args, **named)
            with torch.inference_mode(mode=False):  # else a later training step could not use it
                return kept(*args, **named)  # type: ignore[arg-type]  # lru_cache forgets signatures

        return table

    return decorate
