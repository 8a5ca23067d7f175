"""A cache for functions that make tables of tensors, safe under tracing and inference mode."""

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
    """Cache the `most` latest results of eager calls.

    Under `torch.compile` and `torch.export` the function runs anew: a tensor made by a tracer has
    no values and must not outlive the trace.
    """

    def decorate(make: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        cached = lru_cache(maxsize=most)(make)

        @wraps(make)
        def table(*args: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
            if torch.compiler.is_compiling():
                return make(*args, **named)
            with torch.inference_mode(mode=False):  # training could not use an inference tensor
                return cached(*args, **named)  # type: ignore[arg-type]  # lru_cache forgets signatures

        return table

    return decorate
